// Sends documents by the bulk helper of @elastic/elasticsearch, and one by index(); prints what it made of the answers.
import { readFileSync } from 'node:fs'
import { Client } from '@elastic/elasticsearch'

const task = JSON.parse(readFileSync(0, 'utf8'))
const client = new Client({ node: task.url, auth: { apiKey: task.token }, compression: true })
const dropped = []
const stats = await client.helpers.bulk({
  datasource: task.documents,
  onDocument: (document) => ({ create: { _index: task.index, _id: document.id } }),
  onDrop: (drop) => dropped.push([drop.status, drop.error.type, drop.document.id]),
  refreshOnCompletion: false,
})
const one = await client.index({ index: task.index, document: { n: 100 } })
const ping = await client.ping()
const info = await client.info()
console.log(JSON.stringify({ stats, dropped, one, ping, tagline: info.tagline }))
