-- Sends the requests of a file, again and again. Arguments: the file, and perhaps a token for all of them. A line is a method, a
-- path and a consumer id (or `-`), between spaces. Each thread begins elsewhere in the file, so that they do not march in step. If there is one line
-- only, wrk does not ask this script each time.

dofile("report.lua")

local threads = 0

function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

function init(args)
    local requests = {}
    for line in io.lines(args[1]) do
        local method, path, consumer = line:match("^(%S+) (%S+) (%S+)$")
        local headers = {}
        if consumer ~= "-" then
            headers["X-ConsumerId"] = consumer
        end
        if args[2] then
            headers["Authorization"] = "Bearer " .. args[2]
        end
        requests[#requests + 1] = { method, path, headers }
    end
    if #requests == 1 then
        wrk.method, wrk.path = requests[1][1], requests[1][2]
        for name, value in pairs(requests[1][3]) do
            wrk.headers[name] = value
        end
        return
    end
    for index, parts in ipairs(requests) do
        requests[index] = wrk.format(parts[1], parts[2], parts[3])
    end
    local next = number * 7919 % #requests
    request = function()
        next = next % #requests + 1
        return requests[next]
    end
end
