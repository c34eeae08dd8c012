package cloudcommand_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cloudcommand"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A Client is what rolegate.Config.UpstreamSync wants. Its mistakes are told by
// rolegate.Open, with all the others.
func ExampleNew() {
	var checker rolegate.SyncChecker = cloudcommand.New(cloudcommand.Config{
		BaseURL:      "https://command.example.com",
		ClientID:     "my-app",
		ClientSecret: "from the app's configuration",
		Username:     "my-app-service",
		Password:     "likewise",
		TokenPath:    "blade-auth/oauth/token",
		Running:      []string{cloudcommand.RunningText, "排队中"},
		Done:         []string{"同步完成"},
	})
	fmt.Println(checker)

	err := cloudcommand.New(cloudcommand.Config{BaseURL: "command.example.com", Username: "x"}).Validate()
	fmt.Println(strings.Count(err.Error(), "Config."), "mistakes at once")
	// Output:
	// cloudcommand.Client(https://command.example.com/api/blade-external/checkSyncData as my-app)
	// 4 mistakes at once
}

func ExampleClient_CheckSync() {
	cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{})
	client := cloudcommand.New(cloudcommand.Config{
		BaseURL:      rolegatetest.BaseURL,
		ClientID:     cloud.ClientID(),
		ClientSecret: cloudcommand.Secret(cloud.ClientSecret()),
		Transport:    cloud.Transport(),
	})
	cloud.Running("正在同步数据中...!")
	fmt.Println(client.CheckSync(context.Background()))

	cloud.Done("同步完成") // nobody has said that this text means done
	fmt.Println(client.CheckSync(context.Background()))

	cloud.Fail(rolegatetest.RefuseToken())
	_, err := client.CheckSync(context.Background())
	fmt.Println(errors.Is(err, rolegate.ErrRefused))
	// Output:
	// {running 正在同步数据中...!} <nil>
	// {unknown 同步完成} <nil>
	// true
}

// An app that has asked the platform to sync waits for the end of that before
// it reads the list.
func ExampleClient_WaitForSync() {
	cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{})
	client := cloudcommand.New(cloudcommand.Config{
		BaseURL:      rolegatetest.BaseURL,
		ClientID:     cloud.ClientID(),
		ClientSecret: cloudcommand.Secret(cloud.ClientSecret()),
		Done:         []string{"同步完成"},
		Transport:    cloud.Transport(),
	})
	const id = 1542135022016057346 // from the call that asked for the sync

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	cloud.Running("")
	fmt.Println(client.WaitForSync(ctx, id))

	cloud.Done("同步完成")
	fmt.Println(client.WaitForSync(context.Background(), id))
	// Output:
	// cloudcommand: waiting for sync 1542135022016057346: context deadline exceeded: it was running at last, message “正在同步数据中...!”
	// <nil>
}

// Some platforms say more than a text can be compared with.
func ExampleConfig_interpret() {
	cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{})
	client := cloudcommand.New(cloudcommand.Config{
		BaseURL:      rolegatetest.BaseURL,
		ClientID:     cloud.ClientID(),
		ClientSecret: cloudcommand.Secret(cloud.ClientSecret()),
		Transport:    cloud.Transport(),
		Interpret: func(d cloudcommand.Data) rolegate.SyncState {
			switch {
			case strings.HasPrefix(d.Message, "正在"):
				return rolegate.SyncRunning
			case strings.HasPrefix(d.Message, "同步完成,"):
				return rolegate.SyncDone
			}
			return rolegate.SyncUnknown
		},
	})
	cloud.Done("同步完成,共1024人")
	fmt.Println(client.CheckSync(context.Background()))
	// Output: {done 同步完成,共1024人} <nil>
}
