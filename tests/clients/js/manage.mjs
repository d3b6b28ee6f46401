// Makes the calls that the test gives on standard input, with Axiom's JavaScript client, and prints what each answered.
//
// A call is [service, method, ...arguments]; '$2.id' as an argument is the member id of what the third call answered.

import { AxiomWithoutBatching } from '@axiomhq/js';

const { url, token, calls } = JSON.parse(await new Response(process.stdin).text());
const axiom = new AxiomWithoutBatching({ token, url, orgId: 'an-organisation' });
const answers = [];

function resolve(argument) {
  const named = typeof argument === 'string' && argument.match(/^\$(\d+)\.(\w+)$/);
  return named ? answers[named[1]][named[2]] : argument;
}

for (const [service, method, ...given] of calls) {
  try {
    const answer = await axiom[service][method](...given.map(resolve));
    answers.push(answer instanceof Response ? { status: answer.status } : answer);
  } catch (error) {
    answers.push({ error: error.message });
  }
}
console.log(JSON.stringify(answers));
