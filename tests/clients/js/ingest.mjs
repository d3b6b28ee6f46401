// Sends what the test gives on standard input, with Axiom's JavaScript client, and prints what the client answers.

import { Axiom, AxiomWithoutBatching, ContentType } from '@axiomhq/js';

const { url, edgeUrl, token, dataset, how, events, csv, options } = JSON.parse(
  await new Response(process.stdin).text(),
);
const errors = [];
const settings = { token, url, edgeUrl, orgId: 'an-organisation', onError: (error) => errors.push(String(error)) };

let status = null;
if (how === 'batched') {
  const axiom = new Axiom(settings);
  for (const event of events) {
    axiom.ingest(dataset, event);
  }
  await axiom.flush();
} else if (how === 'direct') {
  status = await new AxiomWithoutBatching(settings).ingest(dataset, events, options);
} else if (how === 'raw') {
  status = await new AxiomWithoutBatching(settings).ingestRaw(dataset, csv, ContentType.CSV, undefined, options);
} else {
  throw new Error(`unknown way: ${how}`);
}
console.log(JSON.stringify({ status, errors }));
