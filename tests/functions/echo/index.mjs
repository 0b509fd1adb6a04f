// Gives back what came: method, path, chosen headers, and the body as it is.
import { createHash } from 'node:crypto';

export default async (request) => {
  const body = Buffer.from(await request.arrayBuffer());
  const url = new URL(request.url);
  const headers = {
    'content-type': request.headers.get('content-type') ?? 'application/octet-stream',
    'x-method': request.method,
    'x-path': url.pathname + url.search,
    'x-sha256': createHash('sha256').update(body).digest('hex'),
    'x-custom-back': request.headers.get('x-custom') ?? '',
  };
  const status = Number(url.searchParams.get('status') ?? 200);
  return new Response(status === 204 ? null : body, { status, headers });
};
