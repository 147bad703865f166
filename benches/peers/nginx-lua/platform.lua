-- The way to the platform: one login for the worker, and a client that writes head and body at once
-- over pooled connections.

local token = require "token"

local find, sub, tonumber = string.find, string.sub, tonumber
local tcp = ngx.socket.tcp

local platform = {}

local host, port, authority, tls_name
-- With `name`: over TLS, verified against that name and the authority in nginx.conf.
function platform.init(to_host, to_port, name)
    host, port, tls_name = to_host, to_port, name
    authority = (name or host) .. ":" .. port
end

-- Timeouts and the pool's size are in nginx.conf: setting them on each socket costs a call each.
function platform.connect()
    local sock = tcp()
    local ok, err = sock:connect(host, port)
    if not ok then
        return nil, "connect: " .. err
    end
    if tls_name and sock:getreusedtimes() == 0 then
        ok, err = sock:sslhandshake(false, tls_name, true)
        if not ok then
            return nil, "TLS: " .. err
        end
    end
    return sock
end

-- The parts of a request head that never change while one token lives.
local built_for, plain_middle, sealed_middle
local function build()
    plain_middle = " HTTP/1.1\r\nHost: " .. authority .. "\r\nAuthorization: Token " .. token.text
    sealed_middle = plain_middle .. "\r\nIs-Encrypted: 1\r\nSigned: "
    built_for = token.generation
end

-- Without `signed` the call is unsealed, without `len` it has no body.
function platform.head(method, target, signed, content_type, len)
    if built_for ~= token.generation then
        build()
    end
    if len then
        return method .. " " .. target .. sealed_middle .. signed
            .. "\r\nContent-Type: " .. content_type .. "\r\nContent-Length: " .. len .. "\r\n\r\n"
    elseif signed then
        return method .. " " .. target .. sealed_middle .. signed .. "\r\n\r\n"
    end
    return method .. " " .. target .. plain_middle .. "\r\n\r\n"
end

-- Value of a header within the first `upto` bytes of `text`. Servers write names as these are or in lower case.
local function header(text, upto, name, lower)
    local _, at = find(text, name, 1, true)
    if not at or at > upto then
        _, at = find(sub(text, 1, upto):lower(), lower, 1, true)
        if not at then
            return nil
        end
    end
    local stop = find(text, "\r", at + 1, true)
    return sub(text, at + 1, stop - 1)
end

-- The rare case: the head came in pieces. Gives what was read and where the head ends.
local function read_rest(sock, text)
    local stop
    repeat
        local more, err = sock:receiveany(262144)
        if not more or #text > 65536 then
            return nil, "read: " .. (err or "the head is too long")
        end
        text = text .. more
        stop = select(2, find(text, "\r\n\r\n", 1, true))
    until stop
    return text, stop
end

-- Reads the head of an answer, and with it what has arrived of the body.
-- Gives status, body length, `Signed` (nil: unsealed), the bytes read, and where the body begins in them.
function platform.read_head(sock)
    local text, err = sock:receiveany(262144)
    if not text then
        return nil, "read: " .. err
    end
    local _, stop = find(text, "\r\n\r\n", 1, true)
    if not stop then
        text, stop = read_rest(sock, text)
        if not text then
            return nil, stop
        end
    end
    local status = tonumber(sub(text, 10, 12))
    local len = tonumber(header(text, stop, "\r\nContent-Length: ", "\r\ncontent-length: "))
    if not status or not len then
        return nil, "the platform's answer has no status or no Content-Length"
    end
    local signed
    if header(text, stop, "\r\nIs-Encrypted: ", "\r\nis-encrypted: ") == "1" then
        signed = header(text, stop, "\r\nSigned: ", "\r\nsigned: ")
    end
    return status, len, signed, text, stop + 1
end

return platform
