-- Arguments: the depth, and the bytes of one request.
--
-- wrk calls `wrk.request` twice. The first call checks that the result is an HTTP request, and
-- counts the replies to expect. The second call returns the bytes that each connection sends
-- repeatedly; wrk calls it only once, because there is no global function `request`. An echo server
-- sends the bytes back, so they must be an HTTP response, which the check of the first call rejects.
function wrk.init(args)
   local depth, bytes = tonumber(args[1]), args[2]
   local is_checked = false
   wrk.request = function()
      local request = is_checked and bytes or "GET / HTTP/1.1\r\n\r\n"
      is_checked = true
      return request:rep(depth)
   end
end
