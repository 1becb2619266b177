-- Registers instances, each a new one. Arguments: a file with one service id a line, how many instances a service gets
-- before the next one's turn, and a word that is part of every instance id. When all services had their turn, the first
-- one's comes again. Each thread has services of its own.

dofile("report.lua")

local threads = 0

function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

function init(args)
    local paths = {}
    for id in io.lines(args[1]) do
        paths[#paths + 1] = "/v4/default/registry/microservices/" .. id .. "/instances"
    end
    local each, word = tonumber(args[2]), args[3]
    local count, headers = 0, { ["Content-Type"] = "application/json" }
    local begin = math.floor(#paths / 2) * (number % 2)
    request = function()
        local path = paths[(begin + math.floor(count / each)) % #paths + 1]
        count = count + 1
        local body = string.format(
            '{"instance":{"instanceId":"%s-%d-%d","hostName":"host-%07d","endpoints":["rest://10.%d.%d.%d:%d"],' ..
            '"status":"UP","healthCheck":{"mode":"push","interval":30000,"times":3}}}',
            word, number, count, count, number, math.floor(count / 256) % 256, count % 256, 8000 + math.floor(count / 65536))
        return wrk.format("POST", path, headers, body)
    end
end
