-- Two shapes that let nginx's own proxy_pass talk to the platform. Both are weaker than gateway.lua, and neither
-- replays a refused token; they exist to show that.

local envelope = require "envelope"
local token = require "token"

local ffi = require "ffi"

local proxied = {}

local function seal(plain)
    if #plain <= envelope.WHOLE then
        local signed = envelope.signed(plain, #plain)
        return ffi.string(envelope.wire, envelope.seal(envelope.wire, plain, #plain)), signed
    end
    local sealer = envelope.sealer()
    for at = 1, #plain, envelope.SLICE do
        sealer:push(plain:sub(at, at + envelope.SLICE - 1), at + envelope.SLICE > #plain)
    end
    return table.concat(sealer.texts), sealer:signed()
end

local function open(text, signed)
    if #text <= 128 * 1024 then
        return envelope.open(text, #text, signed)
    end
    local opener = envelope.opener()
    for at = 1, #text, envelope.SLICE_TEXT do
        local ok, err = opener:push(text:sub(at, at + envelope.SLICE_TEXT - 1))
        if not ok then
            return nil, err
        end
    end
    if not opener:agrees(signed) then
        return nil, "digest"
    end
    return table.concat(opener.plains)
end

local function mark(signed)
    ngx.req.set_header("Authorization", "Token " .. token.text)
    ngx.req.set_header("Is-Encrypted", "1")
    ngx.req.set_header("Signed", signed)
end

-- access_by_lua: the request leaves through proxy_pass.
function proxied.seal_request()
    if not token.text then
        return ngx.exit(503)
    end
    local signed
    if ngx.req.get_method() == "GET" then
        local text
        text, signed = seal(ngx.var.args or "")
        ngx.req.set_uri_args(text)
    else
        local text
        ngx.req.read_body()
        text, signed = seal(ngx.req.get_body_data())
        ngx.req.set_body_data(text)
    end
    mark(signed)
end

-- header_filter_by_lua: the length of the opened answer is not known yet, so it leaves chunked.
function proxied.note_header()
    if ngx.header["Is-Encrypted"] == "1" then
        ngx.ctx.signed = ngx.header["Signed"]
        ngx.ctx.chunks = {}
        ngx.header["Is-Encrypted"] = nil
        ngx.header["Signed"] = nil
        ngx.header.content_length = nil
    end
end

-- body_filter_by_lua: the status has left, so an answer that does not open can only be cut.
function proxied.open_answer()
    local ctx = ngx.ctx
    if not ctx.chunks then
        return
    end
    ctx.chunks[#ctx.chunks + 1] = ngx.arg[1]
    if not ngx.arg[2] then
        ngx.arg[1] = nil
        return
    end
    local chunks = ctx.chunks
    local plain, err = open(#chunks == 1 and chunks[1] or table.concat(chunks), ctx.signed)
    if not plain then
        ngx.log(ngx.ERR, "the answer does not open: ", err)
        return ngx.ERROR
    end
    ngx.arg[1] = plain
end

local METHOD = { GET = ngx.HTTP_GET, POST = ngx.HTTP_POST }

-- content_by_lua: proxy_pass in a subrequest, whose answer comes back whole.
function proxied.capture()
    if not token.text then
        return ngx.exit(503)
    end
    local method = ngx.req.get_method()
    local options = { method = METHOD[method] }
    local signed
    if method == "GET" then
        options.args, signed = seal(ngx.var.args or "")
    else
        ngx.req.read_body()
        options.body, signed = seal(ngx.req.get_body_data())
    end
    mark(signed)
    local answer = ngx.location.capture("/platform" .. ngx.var.uri, options)
    local plain, err = answer.body, nil
    if answer.header["Is-Encrypted"] == "1" then
        plain, err = open(plain, answer.header["Signed"])
    end
    if not plain or answer.truncated then
        ngx.log(ngx.ERR, "the answer does not open: ", err)
        return ngx.exit(502)
    end
    ngx.status = answer.status
    ngx.header.content_length = #plain
    ngx.print(plain)
end

return proxied
