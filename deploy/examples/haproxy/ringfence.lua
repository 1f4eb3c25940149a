-- The action `lua.ringfence WHICH`: asks Ringfence about a request over HAProxy's own HTTP client, and lets it by or answers it.
--
-- WHICH is `any`, or `by/NAMESPACE/NAME` for one policy that must decide.
-- RINGFENCE_ADDRESS (IP:PORT) is where HAProxy itself listens for these questions and hands them to Ringfence.

local check_url = "http://" .. assert(os.getenv("RINGFENCE_ADDRESS"), "setenv RINGFENCE_ADDRESS before lua-load") .. "/auth/haproxy"
-- Milliseconds; the limits that count are in `listen ringfence`.
local TIMEOUT = 1000

-- Headers of the connection between the client and HAProxy.
local HOP_BY_HOP = {
  ["connection"] = true, ["content-length"] = true, ["expect"] = true, ["host"] = true, ["keep-alive"] = true,
  ["proxy-connection"] = true, ["te"] = true, ["trailer"] = true, ["transfer-encoding"] = true, ["upgrade"] = true,
}
-- What a client may say in `Connection`. Any other name is a header that somebody behind may drop.
local CONNECTION_OPTIONS = { ["close"] = true, ["keep-alive"] = true, ["upgrade"] = true, ["te"] = true, ["http2-settings"] = true }

local function answer(txn, status, headers, body)
  local reply = txn:reply({ status = status })
  for name, value in pairs(headers) do
    reply:add_header(name, value)
  end
  reply:set_body(body)
  return reply
end

local function refusal(txn)
  return answer(txn, 400, {}, "")
end

-- No answer is no refusal: the client may come again, and Event Grid does.
local function undecided(txn)
  return answer(txn, 503, { ["retry-after"] = "1" }, "")
end

-- The values of a header as HAProxy shows them: a table that begins at 0.
local function values(header)
  local list = {}
  for index = 0, #header do
    list[#list + 1] = header[index]
  end
  return list
end

local function nominates(headers)
  for _, line in ipairs(values(headers["connection"] or {})) do
    for option in line:gmatch("[^,%s]+") do
      if not CONNECTION_OPTIONS[option:lower()] then
        return true
      end
    end
  end
  return false
end

local function to_ask_with(headers)
  local asked = {}
  for name, header in pairs(headers) do
    if not HOP_BY_HOP[name] then
      asked[name] = values(header)
    end
  end
  return asked
end

local function names_in(response, list)
  local header = response.headers[list]
  return header and header[0]:gmatch("[^,]+") or function() end
end

-- Takes a parameter out of the query and leaves the rest as it is. Ringfence refuses every other spelling of its name.
local function strip_query(txn, parameter)
  local name = parameter:gsub("%p", "%%%0")
  local kept = ("&" .. (txn.f:query() or "")):gsub("&" .. name .. "=[^&]*", ""):sub(2)
  local path = txn.f:path()
  txn.http:req_set_uri(kept == "" and path or path .. "?" .. kept)
end

-- A header that Ringfence sets is never left as the client sent it, nor is one that it removes.
local function let_by(txn, response)
  for name in names_in(response, "x-ringfence-remove") do
    txn.http:req_del_header(name)
  end
  for name in names_in(response, "x-ringfence-set") do
    txn.http:req_set_header(name, response.headers[name][0])
  end
  for parameter in names_in(response, "x-ringfence-strip-query") do
    strip_query(txn, parameter)
  end
end

local function relay(txn, response)
  local headers = {}
  for _, name in ipairs({ "content-type", "www-authenticate", "retry-after", "x-ringfence-reason" }) do
    if response.headers[name] then
      headers[name] = response.headers[name][0]
    end
  end
  return answer(txn, response.status, headers, response.body or "")
end

-- The answer to the client; none if the request may pass.
local function ask(txn, which)
  local headers = txn.http:req_get_headers()
  local hosts = values(headers["host"] or {})
  -- A Host that is not only a name and a port could write the rest of the check URL itself.
  if #hosts ~= 1 or not hosts[1]:match("^[A-Za-z0-9.:%[%]-]+$") or nominates(headers) then
    return refusal(txn)
  end
  -- All that Ringfence believes is in this line, where this action alone writes.
  local url = table.concat({ check_url, which, txn.f:src(), txn.f:method(), hosts[1] .. txn.f:pathq(), ".end" }, "/")
  local response = core.httpclient():get({ url = url, headers = to_ask_with(headers), timeout = TIMEOUT })
  local status = response and response.status or 0
  if status == 200 then
    return let_by(txn, response)
  end
  -- Ringfence's own denials are problem documents. Anything else is HAProxy's word that there was no answer.
  local kind = response and response.headers["content-type"]
  if kind and kind[0] == "application/problem+json" then
    return relay(txn, response)
  end
  return undecided(txn)
end

-- Whatever goes wrong in here lets nothing by.
core.register_action("ringfence", { "http-req" }, function(txn, which)
  local ok, reply = pcall(ask, txn, which)
  if not ok then
    core.Alert("ringfence: " .. tostring(reply))
    reply = undecided(txn)
  end
  if reply then
    txn:done(reply)
  end
end, 1)
