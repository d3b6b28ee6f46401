// Runs code in a page with jQuery, and prints every answer that jQuery had and what the code reported.
// The code ends by calling `done()`.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { JSDOM, VirtualConsole } from 'jsdom';

const { page, prelude, code } = JSON.parse(await new Response(process.stdin).text());
const jquery = readFileSync(createRequire(import.meta.url).resolve('jquery/dist/jquery.js'), 'utf8');

const answers = [];
const errors = [];
const reported = [];
const virtualConsole = new VirtualConsole();
virtualConsole.on('jsdomError', (error) => errors.push(String(error.detail ?? error.message)));

const { window } = new JSDOM('<!doctype html><title>page</title>', {
  url: page,
  runScripts: 'outside-only',
  virtualConsole,
});
window.eval(jquery);

let timer;
const ended = new Promise((resolve, reject) => {
  timer = setTimeout(() => reject(new Error(`the code did not end: ${JSON.stringify({ answers, errors })}`)), 30000);
  window.done = resolve;
});
window.report = (...values) => reported.push(values.map((value) => (value === undefined ? null : value)));
window.$(window.document).ajaxComplete((event, xhr, settings) => {
  let body = null;
  try {
    body = JSON.parse(xhr.responseText);
  } catch {
    // A request that was not allowed has no answer.
  }
  answers.push({ url: settings.url, sent: settings.data ?? null, type: settings.contentType, status: xhr.status, body });
});

window.eval(prelude);
window.eval(code);
await ended;
clearTimeout(timer);
// What jQuery still has to tell of the last request comes in this turn.
await new Promise((resolve) => setImmediate(resolve));
console.log(JSON.stringify({ answers, errors, reported }));
window.close();
