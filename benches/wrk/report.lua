-- What wrk counted, as one line of `name=value` that benches/daemon/wrk.rs reads.

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        "COUNTED requests=%d microseconds=%d p50=%d p99=%d connect=%d read=%d write=%d status=%d timeout=%d\n",
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
