// Makes, reads, changes and deletes a monitor with Axiom's JavaScript client, and prints what the client answers.

import { Axiom } from '@axiomhq/js';

const { url, token, monitor, changes } = JSON.parse(await new Response(process.stdin).text());
const { monitors } = new Axiom({ token, url, orgId: 'an-organisation' });

const made = await monitors.create(monitor);
const got = await monitors.get(made.id);
const changed = await monitors.update(made.id, { ...monitor, ...changes });
const listed = (await monitors.list()).find((each) => each.id === made.id);
const deleted = (await monitors.delete(made.id)).status;
const gone = await monitors.get(made.id).then(() => '', (error) => error.message);
console.log(JSON.stringify({ made, got, changed, listed, deleted, gone }));
