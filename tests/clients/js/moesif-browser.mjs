// Moesif's browser library in a page of jsdom's: identifies a user and a company, tracks an action, logs a call of the
// page's own, and prints once all is sent.

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { JSDOM, VirtualConsole } from 'jsdom';

const { host, key, api } = JSON.parse(await new Response(process.stdin).text());
const script = readFileSync(new URL('./node_modules/moesif-browser-js/moesif.min.js', import.meta.url), 'utf8');
const errors = [];
const virtualConsole = new VirtualConsole();
virtualConsole.on('jsdomError', (error) => errors.push(String(error)));

const page = new JSDOM('<!doctype html><title>Shop</title><body></body>', {
  url: 'http://shop.example.com/cart?utm_source=news',
  runScripts: 'outside-only',
  virtualConsole,
});
const { window } = page;
// Browsers have these, jsdom has not; the library makes its UUIDs of them.
window.URL.createObjectURL = () => `blob:${window.origin}/${randomUUID()}`;
window.URL.revokeObjectURL = () => {};
let open = 0;
const answers = [];
const send = window.XMLHttpRequest.prototype.send;
window.XMLHttpRequest.prototype.send = function (...body) {
  open += 1;
  this.addEventListener('loadend', () => {
    open -= 1;
    answers.push(this.status);
  });
  return send.apply(this, body);
};
window.eval(script);
window.moesif.init({ applicationId: key, host, eagerBodyLogging: true });
window.moesif.start?.();
window.moesif.identifyUser('u1', { email: 'a@example.com' });
window.moesif.identifyCompany('c1', { plan: 'free' }, 'example.com');
window.moesif.track('Clicked', { button: 'Buy' });
await new Promise((resolve) => {
  const request = new window.XMLHttpRequest();
  request.open('POST', api);
  request.setRequestHeader('Content-Type', 'application/json');
  request.addEventListener('loadend', resolve);
  request.send(JSON.stringify({ a: 1 }));
});
let quiet = 0;
while (quiet < 20) {
  await new Promise((resolve) => setTimeout(resolve, 50));
  quiet = open ? 0 : quiet + 1;
}
console.log(JSON.stringify({ answers, errors }));
window.close();
process.exit(0);
