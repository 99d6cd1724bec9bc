import http from 'node:http'
import { connect, state } from './bot.js'

const port = process.env.PORT ?? 3000

http
  .createServer((request, response) => {
    if (request.url !== '/hello') {
      response.writeHead(404).end('nothing here')
      return
    }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ bot: state.connection }))
  })
  .listen(port, () => console.log(`listening on ${port}`))

connect()
