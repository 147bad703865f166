-- wrk's side of a round: one fixed request, and a last line that the rig reads.
-- Arguments: method, the file that holds the body ("-" for none), and the program's key; with a number behind it, so many
-- programs call in turn, whose keys are this one with 0, 1, 2 … at its end.

function init(args)
    wrk.method = args[1]
    if args[2] ~= "-" then
        local file = assert(io.open(args[2], "rb"))
        wrk.body = file:read("*a")
        file:close()
        wrk.headers["Content-Type"] = "application/json"
    end
    wrk.headers["X-Gateway-Key"] = args[3]
    if args[4] then
        local requests, at, count = {}, 0, tonumber(args[4])
        for i = 0, count - 1 do
            wrk.headers["X-Gateway-Key"] = args[3] .. i
            requests[i] = wrk.format()
        end
        request = function()
            at = (at + 1) % count
            return requests[at]
        end
    end
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        '\nROUND {"calls":%d,"bytes":%d,"micros":%d,"p50":%d,"p99":%d,"p999":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
        summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
        errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
