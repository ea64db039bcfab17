-- wrk asks for the request twice: once to see that it is HTTP and how many replies it will have, and
-- once, as there is no global function `request`, for the bytes that each connection sends again and
-- again. What an echo is sent has to be a response, which would not pass the first time.
-- Arguments: the depth, and the bytes of one request.
function wrk.init(args)
   local depth, bytes = tonumber(args[1]), args[2]
   local looked = false
   wrk.request = function()
      local request = looked and bytes or "GET / HTTP/1.1\r\n\r\n"
      looked = true
      return request:rep(depth)
   end
end
