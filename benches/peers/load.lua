-- wrk's side of a round: one fixed request, and a last line that the rig reads.
-- Arguments: method, the file that holds the body ("-" for none), and the program's key.

function init(args)
    wrk.method = args[1]
    if args[2] ~= "-" then
        local file = assert(io.open(args[2], "rb"))
        wrk.body = file:read("*a")
        file:close()
        wrk.headers["Content-Type"] = "application/json"
    end
    wrk.headers["X-Gateway-Key"] = args[3]
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        '\nROUND {"calls":%d,"bytes":%d,"micros":%d,"p50":%d,"p99":%d,"p999":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
        summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
        errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
