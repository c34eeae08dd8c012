-- http-request lua.rolegate ADDRESS PORT asks the gate whether a request may
-- pass. It sets txn.rolegate_status to the status of the answer, and
-- txn.rolegate_user, _account, _org, _roles, _decision, _challenge, _retry and
-- _login to its headers. Without an answer the status is 503. If this script fails, it is
-- not 200, and haproxy.cfg lets nothing pass that has no 200.

local wanted = {
    ["x-rolegate-user"] = "user",
    ["x-rolegate-account"] = "account",
    ["x-rolegate-org"] = "org",
    ["x-rolegate-roles"] = "roles",
    ["x-rolegate-decision"] = "decision",
    ["www-authenticate"] = "challenge",
    ["retry-after"] = "retry",
    ["x-rolegate-login"] = "login",
}

-- Who is asking, what tells a page from a script, and a CORS preflight.
local passed = {
    "authorization", "cookie", "sec-websocket-protocol", "accept", "sec-fetch-mode", "sec-fetch-dest",
    "x-requested-with", "turbo-frame", "hx-request", "origin", "access-control-request-method",
}

-- add writes a header line, and fails on what would be more than one.
local function add(lines, name, value)
    if value:find("[\0\r\n]") then error("a control byte in " .. name) end
    lines[#lines + 1] = name .. ": " .. value
end

local function question(txn)
    local headers = txn.http:req_get_headers()
    local lines = { "HEAD / HTTP/1.0" }
    add(lines, "Host", "rolegate")
    add(lines, "X-Original-Method", txn.sf:method())
    add(lines, "X-Original-Host", txn.sf:req_hdr("host"))
    add(lines, "X-Original-URI", txn.sf:pathq())
    for _, name in ipairs(passed) do
        local values = headers[name]
        local i = 0
        while values and values[i] do -- the table begins at 0
            add(lines, name, values[i])
            i = i + 1
        end
    end
    return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

local function ask(txn, address, port)
    local text = question(txn)
    local socket = core.tcp()
    socket:settimeout(5)
    if not socket:connect(address, tonumber(port)) then return end
    if not socket:send(text) then return socket:close() end
    local line = socket:receive("*l")
    local status = line and line:match("^HTTP/1%.[01] (%d%d%d)")
    local found = {}
    while line and line ~= "" do
        line = socket:receive("*l")
        local name, value = (line or ""):match("^([^:]+):%s*(.-)%s*$")
        if name and wanted[name:lower()] then found[wanted[name:lower()]] = value end
    end
    socket:close()
    if not line or not status then return end -- no answer, or one that was cut off
    for name, value in pairs(found) do txn:set_var("txn.rolegate_" .. name, value) end
    txn:set_var("txn.rolegate_status", status)
end

core.register_action("rolegate", { "http-req" }, function(txn, address, port)
    for _, name in pairs(wanted) do txn:set_var("txn.rolegate_" .. name, "") end
    txn:set_var("txn.rolegate_status", "503")
    ask(txn, address, port)
end, 2)
