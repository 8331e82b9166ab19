-- For wrk: asks for different bodies, checks each answer, and prints counts that the test reads. In a pipeline each
-- write carries as many requests as the first argument says.

local sizes = { 0, 1, 100, 4096, 5000, 20000 }
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  bad, good, sample = 0, 0, ""
  local all = {}
  for i = 1, tonumber(args[1] or "1") do
    for _, n in ipairs(sizes) do
      table.insert(all, wrk.format("GET", "/blob?n=" .. n))
    end
  end
  pipeline, batch, turn = args[1] ~= nil, table.concat(all), 0
end

function request()
  if pipeline then
    return batch
  end
  turn = turn % #sizes + 1
  return wrk.format("GET", "/blob?n=" .. sizes[turn])
end

local known = {}
for _, n in ipairs(sizes) do
  known[n] = true
end

-- Byte i of a body is i modulo 251; checking some of them is enough to see a shift.
function response(status, headers, body)
  local ok = status == 200 and known[#body]
  for i = 1, #body, 997 do
    ok = ok and body:byte(i) == (i - 1) % 251
  end
  ok = ok and (#body == 0 or body:byte(#body) == (#body - 1) % 251)
  if ok then
    good = good + 1
  else
    bad = bad + 1
    sample = status .. " with " .. #body .. " bytes"
  end
end

function done(summary)
  local bad, good, sample = 0, 0, ""
  for _, thread in ipairs(threads) do
    bad, good = bad + thread:get("bad"), good + thread:get("good")
    sample = sample .. thread:get("sample")
  end
  local e = summary.errors
  io.write(string.format("counts good=%d bad=%d connect=%d read=%d write=%d timeout=%d %s\n",
    good, bad, e.connect, e.read, e.write, e.timeout, sample))
end
