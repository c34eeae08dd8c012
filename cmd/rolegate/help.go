package main

import (
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A helpText is what help says of a command, in Chinese. An empty example is
// that of the English help, which has no words in it.
type helpText struct{ short, long, example string }

// usageHeadings are those of the library.
var usageHeadings = strings.NewReplacer(
	"Usage:", "用法：", "Examples:", "示例：", "Available Commands:", "子命令：", "Global Flags:", "通用选项：", "Flags:", "选项：",
	".FlagUsages |", ".FlagUsages | chineseDefaults |",
	`Use "{{.CommandPath}} [command] --help" for more information about a command.`, `各子命令的说明见 "{{.CommandPath}} [command] --help"。`,
)

var flagDefault = regexp.MustCompile(`(?m) \(default (.*)\)$`)

func init() {
	cobra.AddTemplateFunc("chineseDefaults", func(usages string) string { return flagDefault.ReplaceAllString(usages, "（默认 $1）") })
}

// speakChinese has the help of a command, and of those below it, be in Chinese.
func speakChinese(cmd *cobra.Command) {
	if !cmd.HasParent() {
		cmd.InitDefaultHelpCmd()
		cmd.SetUsageTemplate(usageHeadings.Replace(cmd.UsageTemplate()))
	}
	cmd.InitDefaultHelpFlag()
	name := strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), "rolegate"), " ")
	if text, ok := chineseHelp[name]; ok {
		cmd.Short, cmd.Long = text.short, text.long
		if text.example != "" {
			cmd.Example = text.example
		}
	}
	for _, flags := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
		flags.VisitAll(func(f *pflag.Flag) {
			if text := chineseFlag(name, f.Name); text != "" {
				f.Usage = text
			}
		})
	}
	for _, below := range cmd.Commands() {
		speakChinese(below)
	}
}

// chineseFlag is what help says of a flag: of that command's or of several.
func chineseFlag(command, flag string) string {
	if text, ok := chineseFlags[command+" --"+flag]; ok {
		return text
	}
	return chineseFlags["--"+flag]
}
