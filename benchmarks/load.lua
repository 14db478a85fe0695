-- The load, for wrk: wrk … -s load.lua URL -- SHAPE VARIETY TOKENS RUN
--
-- SHAPE    subrequest: what Traefik asks an auth server; client: what a client asks the gateway
-- VARIETY  repeated: always the same bytes; varied: another token, client, query and id each time
-- TOKENS   a file with one token a line
-- RUN      a word that makes the ids of this run differ from those of every other

local CLIENTS = 60000

-- What stands before and after the query. Host is the same for all, so that all get the same bytes.
local SHAPES = {
    subrequest = {
        "GET /verify/traefik HTTP/1.1\r\nHost: auth.example.com\r\n"
            .. "User-Agent: OpenAI/Python 2.8.0\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\n"
            .. "X-Forwarded-Method: POST\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: llm.example.com\r\n"
            .. "X-Forwarded-Port: 443\r\nX-Forwarded-Server: gateway\r\nX-Forwarded-Uri: /v1/chat/completions",
        "",
    },
    client = {
        "GET /v1/chat/completions",
        " HTTP/1.1\r\nHost: llm.example.com\r\n"
            .. "User-Agent: OpenAI/Python 2.8.0\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate",
    },
}

-- One string per token and per client, made before the first request: this core is half of the measurement.
local function token_lines(file)
    local all = {}
    for token in io.lines(file) do all[#all + 1] = "\r\nX-API-Token: " .. token end
    return all
end

local function client_lines()
    local all = {}
    for i = 1, CLIENTS do
        -- 198.18.0.0/15 is set aside for benchmarks.
        local address = string.format("198.18.%d.%d", math.floor(i / 256), i % 256)
        all[i] = "\r\nX-Forwarded-For: " .. address .. "\r\nX-Real-Ip: " .. address
    end
    return all
end

function init(args)
    local before, after = unpack(SHAPES[args[1]])
    local variety, run = args[2], args[4]
    local tokens, clients = token_lines(args[3]), client_lines()

    if variety == "repeated" then
        local always = before .. after .. tokens[1] .. clients[1] .. "\r\n\r\n"
        request = function() return always end
        return
    end

    local n = 0
    request = function()
        n = n + 1
        local id = run .. n
        return before .. "?id=" .. id .. after .. tokens[n % #tokens + 1] .. clients[n % CLIENTS + 1]
            .. "\r\nX-Request-Id: " .. id .. "\r\n\r\n"
    end
end

-- One line of JSON after wrk's own report.
function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '{"requests": %d, "microseconds": %d, "p50_ms": %.3f, "p99_ms": %.3f, "refused": %d, "broken": %d}\n',
        summary.requests, summary.duration, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
        errors.status, errors.connect + errors.read + errors.write + errors.timeout
    ))
end
