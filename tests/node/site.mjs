// A web server as bots have one beside their client: pages, uploads, event streams, WebSockets. Prints its port.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

let streams = 0;

const server = createServer((request, response) => {
  switch (request.url) {
    case "/upload": {
      const hash = createHash("sha256");
      let bytes = 0;
      request.on("data", (piece) => {
        hash.update(piece);
        bytes += piece.length;
      });
      request.on("end", () => response.end(JSON.stringify({ bytes, sha256: hash.digest("hex") })));
      return;
    }
    case "/ticks": {
      streams += 1;
      response.writeHead(200, { "content-type": "text/event-stream" });
      const timer = setInterval(() => response.write("data: tick\n\n"), 10);
      response.on("close", () => {
        streams -= 1;
        clearInterval(timer);
      });
      return;
    }
    case "/streams":
      return response.end(String(streams));
    case "/trailers":
      response.writeHead(200, { trailer: "x-sum" });
      response.write("body");
      response.addTrailers({ "x-sum": "42" });
      return response.end();
    case "/gone":
      return request.socket.destroy();
    default:
      response.setHeader("set-cookie", ["blacksky=forged", "sid=1"]);
      return response.end(JSON.stringify({ url: request.url, headers: request.headers }));
  }
});

new WebSocketServer({ server }).on("connection", (socket) => {
  socket.on("message", (data, isBinary) => {
    if (data.toString() === "close") socket.close(4001, "as asked");
    else socket.send(data, { binary: isBinary });
  });
});

server.listen(0, "127.0.0.1", () => console.log(server.address().port));
