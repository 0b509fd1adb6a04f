// Answers after the milliseconds the query names, asleep or busy.
export default async (request) => {
  const query = new URL(request.url).searchParams;
  const ms = Number(query.get('ms') ?? 0);
  const start = Date.now();
  if (query.has('busy')) while (Date.now() - start < ms);
  else await new Promise((resolve) => setTimeout(resolve, ms));
  return Response.json({ asked: ms, took: Date.now() - start });
};
