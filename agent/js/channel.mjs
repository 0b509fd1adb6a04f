// The request channel: frames of a u32 little-endian payload length, a kind byte and the payload,
// read and written synchronously. The Rust side of the same protocol is the sprout-agent crate.

import { Buffer } from 'node:buffer';
import fs from 'node:fs';

const RESTORED = 1;
const HEAD = 2;
const BODY = 3;
const END = 4;
const ERROR = 5;

const HEADER_LENGTH = 5;
/** Size of the two buffers every request passes through. */
const BUFFER_LENGTH = 64 * 1024;
/** Largest piece of a body in one frame; the host refuses frames above 1 MiB. */
const BODY_PIECE = 256 * 1024;
const HEAD_LIMIT = 1024 * 1024;

const EMPTY = Buffer.alloc(0);

export class Channel {
  #fd;
  #input = Buffer.alloc(BUFFER_LENGTH);
  #start = 0;
  #end = 0;
  #output = Buffer.alloc(BUFFER_LENGTH);
  #used = 0;

  constructor(fd) {
    this.#fd = fd;
  }

  static open(path) {
    return new Channel(fs.openSync(path, 'r+'));
  }

  close() {
    fs.closeSync(this.#fd);
  }

  /**
   * Blocks until a whole request is there. Returns `{restored, head, body}` (`restored` is the
   * notice of a restore that came before it, or null; `body` is null when empty), or null when the
   * host closed the channel.
   */
  readRequest() {
    let restored = null;
    let head = null;
    const pieces = [];
    for (;;) {
      if (!this.#fill(HEADER_LENGTH)) {
        if (head === null && this.#start === this.#end) return null;
        throw new Error('the host closed the request channel inside a request');
      }
      const length = this.#input.readUInt32LE(this.#start);
      const kind = this.#input[this.#start + 4];
      this.#start += HEADER_LENGTH;
      const inside = head !== null;
      if (kind === END && inside) {
        const body = pieces.length > 1 ? Buffer.concat(pieces) : pieces[0] ?? null;
        return { restored, head, body };
      } else if (kind === BODY && inside) {
        if (length > 0) pieces.push(this.#take(length));
      } else if (kind === HEAD && !inside) {
        head = JSON.parse(this.#take(length).utf8Slice());
      } else if (kind === RESTORED && !inside) {
        restored = JSON.parse(this.#take(length).utf8Slice());
      } else {
        throw new Error(`frame of kind ${kind} ${inside ? 'inside' : 'before'} a request`);
      }
    }
  }

  /** Makes at least `length` (at most the buffer's) bytes available; false at the end of input. */
  #fill(length) {
    if (this.#start === this.#end) {
      this.#start = 0;
      this.#end = 0;
    } else if (this.#start + length > BUFFER_LENGTH) {
      this.#input.copy(this.#input, 0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    while (this.#end - this.#start < length) {
      const space = BUFFER_LENGTH - this.#end;
      const count = fs.readSync(this.#fd, this.#input, this.#end, space, null);
      if (count === 0) return false;
      this.#end += count;
    }
    return true;
  }

  /** Takes `length` bytes as a buffer of their own. */
  #take(length) {
    const bytes = Buffer.allocUnsafeSlow(length);
    let filled = this.#input.copy(bytes, 0, this.#start, Math.min(this.#end, this.#start + length));
    this.#start += filled;
    while (filled < length) {
      const count = fs.readSync(this.#fd, bytes, filled, length - filled, null);
      if (count === 0) throw new Error('the host closed the request channel inside a request');
      filled += count;
    }
    return bytes;
  }

  /** Adds the head of a response to the output. */
  putHead(head) {
    const bytes = Buffer.from(JSON.stringify(head));
    if (bytes.length > HEAD_LIMIT) {
      throw new RangeError(`response headers of ${bytes.length} bytes; the limit is ${HEAD_LIMIT}`);
    }
    this.#putFrame(HEAD, bytes);
  }

  /** Adds a piece of a response's body, a Uint8Array. */
  putBody(bytes) {
    if (!(bytes instanceof Uint8Array)) {
      throw new TypeError('a piece of the response body is no Uint8Array');
    }
    for (let at = 0; at < bytes.length; at += BODY_PIECE) {
      this.#putFrame(BODY, bytes.subarray(at, at + BODY_PIECE));
    }
  }

  /** Adds the end of a response. */
  putEnd() {
    this.#putFrame(END, EMPTY);
  }

  /** Adds the report that takes the place of the rest of a response. */
  putError({ message, stack }) {
    const limit = HEAD_LIMIT / 16;
    const report = { message: message.slice(0, limit), stack: stack.slice(0, limit) };
    this.#putFrame(ERROR, Buffer.from(JSON.stringify(report)));
  }

  #putFrame(kind, bytes) {
    if (this.#used + HEADER_LENGTH + bytes.length > BUFFER_LENGTH) this.flush();
    this.#used = this.#output.writeUInt32LE(bytes.length, this.#used);
    this.#output[this.#used] = kind;
    this.#used += 1;
    if (this.#used + bytes.length <= BUFFER_LENGTH) {
      this.#output.set(bytes, this.#used);
      this.#used += bytes.length;
    } else {
      this.flush();
      this.#write(bytes, bytes.length);
    }
  }

  /** Writes what has been added. */
  flush() {
    const used = this.#used;
    this.#used = 0;
    this.#write(this.#output, used);
  }

  #write(bytes, length) {
    let written = 0;
    while (written < length) {
      written += fs.writeSync(this.#fd, bytes, written, length - written, null);
    }
  }
}
