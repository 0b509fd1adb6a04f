// The smallest useful function: it greets, and shows that each request has a machine of its own.

let requestsSeenByThisInstance = 0;

export default async (request) => {
  const name = new URL(request.url).searchParams.get('name') ?? 'world';
  const body = request.method === 'POST' ? await request.text() : undefined;
  requestsSeenByThisInstance += 1;
  return Response.json({
    hello: name,
    body,
    requestsSeenByThisInstance,
    random: crypto.randomUUID(),
    node: process.version,
  });
};
