// node.mjs: node's own http module. node node.mjs PORT
import http from 'node:http'

const server = http.createServer((req, res) => {
  const answer = () => {
    res.writeHead(200, {
      'Content-Type': 'text/plain; charset=utf-8',
      'Content-Length': 13
    })
    res.end('Hello, World!')
  }
  if (req.url === '/sleep') setTimeout(answer, 1000)
  else answer()
})
server.keepAliveTimeout = 60000
server.listen(+process.argv[2], '127.0.0.1', 4096)
