-- The account's token: asked for at start, again at 80 % of its life, and once more when the platform refuses it.
-- One worker, so one holder; calls that find it refused wait for one login.

local token = { text = nil, generation = 0 }

local LIFE = 24 * 3600

local host, port, tls_name, login_head, login_body
function token.init(to_host, to_port, name, app_key, app_secret)
    host, port, tls_name = to_host, to_port, name
    login_body = '{"APPKey":"' .. app_key .. '","APPSecret":"' .. app_secret .. '"}'
    login_head = "POST /service/cloud/auth HTTP/1.1\r\nHost: " .. (name or host) .. ":" .. port
        .. "\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: " .. #login_body .. "\r\n\r\n"
end

local function login()
    local sock = ngx.socket.tcp()
    sock:settimeouts(5000, 5000, 30000)
    local ok, err = sock:connect(host, port)
    if ok and tls_name then
        ok, err = sock:sslhandshake(false, tls_name, true)
    end
    if not ok then
        return nil, err
    end
    ok, err = sock:send({ login_head, login_body })
    local answer
    if ok then
        answer, err = sock:receive("*a")
    end
    sock:close()
    local text = answer and answer:match('^HTTP/1%.1 200 .*"token"%s*:%s*"([A-Za-z0-9+/=]+)"')
    return text, err or "no token in the answer"
end

local waiting
-- Replaces the token of `generation`; a later one is left alone. Gives whether there is one to use.
function token.refresh(generation)
    if token.generation ~= generation then
        return true
    end
    if waiting then
        return waiting:wait(30) and token.generation ~= generation
    end
    local semaphore = require("ngx.semaphore").new()
    waiting = semaphore
    local text, err = login()
    waiting = nil
    if text then
        token.text = text
        token.generation = generation + 1
    else
        ngx.log(ngx.ERR, "the login failed: ", err)
    end
    if semaphore:count() < 0 then
        semaphore:post(-semaphore:count())
    end
    return text ~= nil
end

function token.keep_fresh(premature)
    if premature then
        return
    end
    local fresh = token.refresh(token.generation)
    ngx.timer.at(fresh and 0.8 * LIFE or 1, token.keep_fresh)
end

return token
