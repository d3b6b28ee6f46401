// Asks what the test gives on standard input, with Axiom's JavaScript client, and prints what the client answers.

import { AxiomWithoutBatching } from '@axiomhq/js';

const { url, edgeUrl, token, dataset, how, query, options } = JSON.parse(await new Response(process.stdin).text());
const axiom = new AxiomWithoutBatching({ token, url, edgeUrl, orgId: 'an-organisation' });

if (how === 'legacy') {
  console.log(JSON.stringify(await axiom.queryLegacy(dataset, query, options)));
} else {
  const answer = await axiom.query(query, options);
  const events = (answer.tables ?? []).map((table) => [...table.events()]);
  console.log(JSON.stringify({ ...answer, events }));
}
