-- One call, from bytes to bytes, as the gateway does it: seal, send with the token, open, check, answer plain.

local envelope = require "envelope"
local platform = require "platform"
local token = require "token"

local ffi = require "ffi"
local ngx = ngx
local cast = ffi.cast
local c8 = ffi.typeof("const uint8_t *")
local sub = string.sub

local NO_TEXTS = {}

local gateway = {}

function gateway.init(host, port, base64, name)
    local function need(name)
        return assert(os.getenv(name), "the variable " .. name .. " is missing")
    end
    envelope.init(need "PEER_AES_KEY", base64)
    platform.init(host, port, name)
    token.init(host, port, name, need "PEER_APP_KEY", need "PEER_APP_SECRET")
end

local function refuse(status, reason)
    ngx.status = status
    ngx.header["Content-Type"] = "application/json"
    ngx.print('{"code":', status, ',"status":"', reason, '","data":null}')
end

local function fail(reason)
    ngx.log(ngx.ERR, reason)
    refuse(502, "bad_gateway")
end

-- An answer that fits the buffers.
local function answer_whole(sock, status, len, signed, text, from)
    local body_from, body = from - 1, text
    local missing = len - (#text - body_from)
    if missing > 0 then
        local more, err = sock:receive(missing)
        if not more then
            return fail("read: " .. err)
        end
        body, body_from = sub(text, from) .. more, 0
    end
    sock:setkeepalive()
    local plain, err
    if signed then
        plain, err = envelope.open(cast(c8, body) + body_from, len, signed)
        if not plain then
            return fail("the answer does not open: " .. err)
        end
    else
        plain = sub(body, body_from + 1, body_from + len)
    end
    if status ~= 200 then
        ngx.status = status
    end
    ngx.header.content_length = #plain
    ngx.print(plain)
end

-- A larger one, held back until its digest is checked.
local function answer_slices(sock, status, len, signed, text, from)
    local opener = envelope.opener()
    local have, left = sub(text, from), len
    while left > 0 do
        local want = left < envelope.SLICE_TEXT and left or envelope.SLICE_TEXT
        local slice = have
        if #have < want then
            local more, err = sock:receive(want - #have)
            if not more then
                return fail("read: " .. err)
            end
            slice, have = #have == 0 and more or have .. more, ""
        elseif #have > want then
            slice, have = sub(have, 1, want), sub(have, want + 1)
        else
            have = ""
        end
        local ok, err = opener:push(slice)
        if not ok then
            return fail("the answer does not open: " .. err)
        end
        left = left - want
    end
    sock:setkeepalive()
    if not opener:agrees(signed) then
        return fail("the answer does not open: digest")
    end
    ngx.status = status
    ngx.header.content_length = opener.len
    ngx.print(opener.plains)
end

-- One write for the head and the text, or for the head and the first slice of a long one.
local function send(sock, head, texts)
    local ok, err = sock:send({ head, texts[1] })
    for i = 2, #texts do
        if ok then
            ok, err = sock:send(texts[i])
        end
    end
    return ok, err
end

-- Sends one sealed call and answers with what comes back. `texts` is the sealed body in slices, `len` its length;
-- both are nil for a call without a body.
local function exchange(method, target, signed, content_type, texts, len)
    for try = 1, 2 do
        local generation = token.generation
        if not token.text then
            return refuse(503, "token_unavailable")
        end
        local sock, err = platform.connect()
        if not sock then
            return fail(err)
        end
        local head = platform.head(method, target, signed, content_type, len)
        local ok
        ok, err = send(sock, head, texts or NO_TEXTS)
        if not ok then
            return fail("send: " .. err)
        end
        local status, answer_len, answer_signed, text, from = platform.read_head(sock)
        if not status then
            return fail(answer_len)
        end
        if status == 401 and try == 1 then
            sock:close()
            if not token.refresh(generation) then
                return refuse(503, "token_unavailable")
            end
        elseif answer_len <= 128 * 1024 or not answer_signed then
            return answer_whole(sock, status, answer_len, answer_signed, text, from)
        else
            return answer_slices(sock, status, answer_len, answer_signed, text, from)
        end
    end
end

-- Reads a long body slice by slice and seals it as it arrives.
local function collect_slices(len)
    local sock, err = ngx.req.socket()
    if not sock then
        return nil, err
    end
    local sealer = envelope.sealer()
    local left = len
    while left > 0 do
        local want = left < envelope.SLICE and left or envelope.SLICE
        local slice
        slice, err = sock:receive(want)
        if not slice then
            return nil, err
        end
        left = left - want
        sealer:push(slice, left == 0)
    end
    return sealer
end

function gateway.call()
    local method = ngx.req.get_method()
    local target = ngx.var.request_uri
    if method == "GET" then
        local query = ngx.var.args
        if not query then
            return exchange(method, target)
        end
        local n = envelope.seal(envelope.wire, query, #query)
        target = sub(target, 1, -1 - #query) .. ffi.string(envelope.wire, n)
        return exchange(method, target, envelope.signed(query, #query))
    end
    local content_type = ngx.var.content_type or "application/json"
    local len = tonumber(ngx.var.content_length)
    if len and len > envelope.WHOLE then
        local sealer, err = collect_slices(len)
        if not sealer then
            return fail("the body did not arrive: " .. err)
        end
        return exchange(method, target, sealer:signed(), content_type, sealer.texts, sealer.len)
    end
    ngx.req.read_body()
    local plain = ngx.req.get_body_data()
    if not plain then
        return refuse(400, "no_body")
    end
    if #plain > envelope.WHOLE then
        return refuse(411, "length_required")
    end
    local n = envelope.seal(envelope.wire, plain, #plain)
    local texts = { ffi.string(envelope.wire, n) }
    return exchange(method, target, envelope.signed(plain, #plain), content_type, texts, n)
end

return gateway
