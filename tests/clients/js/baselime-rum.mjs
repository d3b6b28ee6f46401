// Renders a page with Baselime's React RUM in jsdom, as the test gives it on standard input, and prints the answers
// that the client got and what it sent.

import { JSDOM } from 'jsdom';

const { url, key, page, settings } = JSON.parse(await new Response(process.stdin).text());
const { window } = new JSDOM('<!doctype html><div id="root"></div>', { url: page, pretendToBeVisual: true });
for (const name of ['window', 'document', 'location', 'HTMLElement', 'HTMLIFrameElement', 'Node', 'Event']) {
  globalThis[name] = name === 'window' ? window : window[name];
}
Object.defineProperty(globalThis, 'navigator', { value: window.navigator, configurable: true });
window.addEventListener('error', (event) => event.preventDefault());
console.error = () => {}; // where React tells of the error that is thrown on purpose

// Looks on, changes nothing. jsdom has no fetch of its own.
const statuses = [];
const bodies = [];
let wake;
const { fetch } = globalThis;
globalThis.fetch = async (target, options) => {
  bodies.push(...JSON.parse(options.body));
  const answer = await fetch(target, options);
  statuses.push(answer.status);
  if (bodies.length >= 4) wake();
  return answer;
};
const done = new Promise((resolve) => (wake = resolve));

const { createElement, useEffect } = (await import('react')).default;
const { createRoot } = await import('react-dom/client');
const { BaselimeRum, useBaselimeRum } = await import('@baselime/react-rum');

function Page() {
  const { sendEvent, captureException } = useBaselimeRum();
  useEffect(() => {
    sendEvent('basket', { level: 'warn', items: [1, 'two', null], price: 9.5, customer: { vip: true } });
    captureException(new TypeError('captured'));
  }, []);
  return createElement(Broken);
}

function Broken() {
  useEffect(() => {
    throw new RangeError('thrown');
  }, []);
  return null;
}

createRoot(window.document.getElementById('root')).render(
  createElement(
    BaselimeRum,
    { apiKey: key, url, enableLocal: true, fallback: createElement('p', null, 'broken'), ...settings },
    createElement(Page),
  ),
);
await done;
process.stdout.write(JSON.stringify({ statuses, bodies }), () => process.exit(0));
