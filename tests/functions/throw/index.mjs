// Fails in the way the query names; a failing function must not take its gateway with it.
export default async (request) => {
  const how = new URL(request.url).searchParams.get('how');
  if (how === 'error') throw new Error('thrown on purpose');
  if (how === 'value') throw 'a thrown string';
  if (how === 'recursion') {
    const recurse = (n) => recurse(n + 1) + 1;
    return new Response(String(recurse(0)));
  }
  if (how === 'nothing') return undefined;
  if (how === 'rejection') {
    Promise.reject(new Error('rejected on purpose'));
    await new Promise((resolve) => setTimeout(resolve, 10_000));
  }
  return new Response('nothing thrown\n');
};
