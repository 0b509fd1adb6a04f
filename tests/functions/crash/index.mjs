// Ends its process in the way the query names, before it answers.
export default async (request) => {
  const how = new URL(request.url).searchParams.get('how');
  if (how === 'exit') process.exit(1);
  if (how === 'exit-zero') process.exit(0);
  if (how === 'abort') process.abort();
  if (how === 'kill') process.kill(process.pid, 'SIGKILL');
  if (how === 'later') setTimeout(() => process.exit(3), 20);
  if (how === 'memory') {
    const kept = [];
    for (;;) kept.push(new Array(1 << 16).fill(Math.random()));
  }
  if (how !== null) await new Promise((resolve) => setTimeout(resolve, 60_000));
  return new Response('still alive\n');
};
