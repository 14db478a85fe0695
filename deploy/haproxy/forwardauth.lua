-- Asks forwardauth about a request: the action behind `http-request lua.forwardauth`. Needs HAProxy 2.6, nothing else.
--
-- It allows by setting the variable txn.forwardauth_allowed, on a 200 alone, and gives the client any denial itself. An
-- error in here ends the action and not the request: the rule after it has to deny whatever is not allowed.

-- Who is calling. What a client wrote there is gone, whatever the service says. Further names of `identity_headers`
-- belong here too.
local IDENTITY = {
  "x-auth-user",
  "x-auth-email",
  "x-auth-groups",
  "x-auth-tenant",
  "x-auth-key",
  "x-auth-method",
}

-- The client's credentials stay here, unless the service hands them on (`pass_credentials`) or puts its own in their
-- place (`inject`). Every header that an authenticator reads belongs here; `cookie` too, where one reads a cookie.
local CREDENTIALS = {
  "authorization",
  "x-api-key",
  "x-api-token",
}

-- The section `listen forwardauth`, which knows where the service is and how long it may take.
local SOCKET = "abns@forwardauth"
local URL = "http://forwardauth/verify/haproxy"

-- Longer than that section ever waits: on a time-out of its own the client here asks three times more, and each asking
-- counts as an attempt.
local TIMEOUT_MS = 60000

-- The client here leaves out, without a word, what exceeds tune.http.maxhdr: 101 lines unless set, and five are ours. A
-- second key or a look-alike would then be judged as if it had not been sent.
local MAX_HEADERS = 90

local TOO_MANY = {
  status = 431,
  headers = { ["content-type"] = { "text/plain" }, ["cache-control"] = { "no-store" } },
  body = "Too many headers.\n",
}

-- Meant for this connection (RFC 9110, 7.6.1), or about a body that a question does not have.
local NOT_ASKED = {
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
}

-- The request as HAProxy sees it. req_fhdr has the whole Host; of `a,b`, req_hdr would have the last part alone.
local function seen(txn)
  return {
    ["x-forwarded-method"] = txn.sf:method(),
    ["x-forwarded-proto"] = txn.sf:ssl_fc() == "1" and "https" or "http",
    ["x-forwarded-host"] = txn.sf:req_fhdr("host"),
    ["x-forwarded-uri"] = txn.sf:pathq(),
    ["x-forwarded-for"] = txn.sf:src(),
  }
end

-- Of these, what a backend may want to know. The other two would repeat its request line.
local TOLD_TO_BACKEND = {
  ["x-forwarded-for"] = true,
  ["x-forwarded-host"] = true,
  ["x-forwarded-proto"] = true,
}

local function lines(headers)
  local count = 0
  for _, values in pairs(headers) do
    for _ in pairs(values) do
      count = count + 1
    end
  end
  return count
end

local function ask(headers, request, websocket)
  for _, name in ipairs(NOT_ASKED) do
    headers[name] = nil
  end
  for name, value in pairs(request) do
    headers[name] = { value }
  end
  -- Over HTTP/2 a WebSocket has no key of its own (RFC 8441, 5), by which the service would know it.
  if websocket then
    headers["x-forwarded-proto"] = { (request["x-forwarded-proto"]:gsub("^http", "ws")) }
  end
  return core.httpclient():get({ url = URL, dst = SOCKET, headers = headers, timeout = TIMEOUT_MS })
end

-- In place of the client's; false, nil and empty only delete. HAProxy does not tell when a header found no room, so it
-- is read again.
local function put(txn, name, value)
  txn.http:req_del_header(name)
  if value and value ~= "" then
    txn.http:req_set_header(name, value)
    assert(txn.sf:req_fhdr(name) == value, "no room for " .. name)
  end
end

-- Only a WebSocket is handed on. An `Upgrade: h2c` on a public path would open a tunnel to a backend that knows it, and
-- nobody is asked about the requests in there.
local function opens_websocket(headers)
  for _, value in pairs(headers.connection or {}) do
    for option in value:gmatch("[^%s,]+") do
      if option:lower() == "upgrade" then
        return headers.upgrade ~= nil and headers.upgrade[0]:lower() == "websocket"
      end
    end
  end
  return false
end

local function allow(txn, request, websocket, answer)
  for _, names in ipairs({ IDENTITY, CREDENTIALS }) do
    for _, name in ipairs(names) do
      put(txn, name, answer[name] and answer[name][0])
    end
  end
  for name, value in pairs(request) do
    put(txn, name, TOLD_TO_BACKEND[name] and value)
  end
  -- A client can name X-Auth-User in Connection, and the next proxy would have to drop it (RFC 9110, 7.6.1).
  put(txn, "connection", websocket and "upgrade")
  put(txn, "upgrade", websocket and "websocket")
  txn:set_var("txn.forwardauth_allowed", true)
end

local function deny(txn, answer)
  for _, name in ipairs(NOT_ASKED) do
    answer.headers[name] = nil
  end
  txn:done(txn:reply({ status = answer.status, headers = answer.headers, body = answer.body }))
end

core.register_action("forwardauth", { "http-req" }, function(txn)
  local headers = txn.http:req_get_headers()
  if lines(headers) > MAX_HEADERS then
    return deny(txn, TOO_MANY)
  end
  local request, websocket = seen(txn), opens_websocket(headers)
  local answer = ask(headers, request, websocket)
  if answer.status == 200 then
    allow(txn, request, websocket, answer.headers)
  elseif answer.status >= 300 and answer.status < 600 then
    deny(txn, answer)
  end
end, 0)
