import { beforeEach, expect, test } from "vitest";
import { type Dataset, datasets, mayQuery, readable, writable } from "../src/datasets";
import { type Session, session } from "../src/session";

function signedIn(rights: Partial<Session>): void {
  session.value = {
    kind: "api",
    isUnlimited: false,
    datasetCapabilities: {},
    orgCapabilities: {},
    ...rights,
  } as Session;
}

beforeEach(() => {
  const names = ["axiom-audit", "axiom-audit.other", "shop", "demo", "axiom-audits"];
  datasets.value = names.map((name) => ({ name }) as Dataset);
});

test("what may be asked is what the session may read, the demo's first, a trail last", () => {
  signedIn({ isUnlimited: true });
  expect(readable.value.map(({ name }) => name)).toEqual([
    "demo",
    "shop",
    "axiom-audits",
    "axiom-audit",
    "axiom-audit.other",
  ]);
  signedIn({ datasetCapabilities: { shop: { query: ["read"] }, demo: { ingest: ["create"] } } });
  expect(readable.value.map(({ name }) => name)).toEqual(["shop"]);
});

test("every dataset does not include the audit trail, as at the server", () => {
  signedIn({ datasetCapabilities: { "*": { query: ["read"] } } });
  expect([mayQuery("shop"), mayQuery("axiom-audit"), mayQuery("axiom-audit.other")]).toEqual([true, false, false]);
  signedIn({ datasetCapabilities: { "axiom-audit": { query: ["read"] } } });
  expect([mayQuery("shop"), mayQuery("axiom-audit"), mayQuery("axiom-audit.other")]).toEqual([false, true, false]);
  signedIn({ orgCapabilities: { auditLog: ["read"] } });
  expect([mayQuery("shop"), mayQuery("axiom-audit"), mayQuery("axiom-audit.other")]).toEqual([false, true, true]);
});

test("no one sends to a trail", () => {
  signedIn({ isUnlimited: true });
  expect(writable.value.map(({ name }) => name)).toEqual(["demo", "shop", "axiom-audits"]);
});
