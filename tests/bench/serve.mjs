// The peer of a deployed function: the same function under plain Node, one HTTP server, first
// answer as soon as it is up. Prints the port it listens on.
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const { default: handler } = await import(pathToFileURL(process.argv[2]));
const server = createServer(async (incoming, outgoing) => {
  const url = `http://${incoming.headers.host}${incoming.url}`;
  const response = await handler(new Request(url, { method: incoming.method }));
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  outgoing.end(Buffer.from(await response.arrayBuffer()));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
