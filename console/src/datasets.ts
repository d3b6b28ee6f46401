/** The datasets that the session may see, and their statistics. */
import { computed, signal } from "@preact/signals";
import { ask } from "./api/http";
import { may, mayWith, session } from "./session";

export interface Dataset {
  name: string;
  description: string;
  kind: string;
  created: string;
  who: string;
  useRetentionPeriod: boolean;
  retentionDays: number;
}

export interface Statistics {
  name: string;
  numEvents: number;
  numFields: number;
  numFiles: number;
  inputEvents: number;
  inputBytes: number;
  compressedBytes: number;
  maxTime?: string;
  minTime?: string;
}

export const datasets = signal<Dataset[]>([]);
/** the audit trail's, which the server alone writes; of an organisation beside the first, with its id behind it */
export const AUDIT_DATASET = "axiom-audit";
/** those that events can be sent to, the demo's first */
export const writable = computed(() => demoFirst(datasets.value.filter(({ name }) => !isAudit(name))));
/** those that may be asked, the demo's first, a trail's last */
export const readable = computed(() =>
  demoFirst(datasets.value.filter(({ name }) => mayQuery(name))).sort(
    (a, b) => Number(isAudit(a.name)) - Number(isAudit(b.name)),
  ),
);
/** by the name of the dataset */
export const statistics = signal<ReadonlyMap<string, Statistics>>(new Map());

/** Read the datasets. */
export async function loadDatasets(): Promise<void> {
  const found = may("datasets", "read") ? await ask<Dataset[]>("/v2/datasets") : ownDatasets();
  datasets.value = found.sort((a, b) => a.name.localeCompare(b.name));
}

/** Whether the session may read a dataset's events; "every dataset" is not the audit trail's. */
export function mayQuery(name: string): boolean {
  if (!isAudit(name)) return mayWith([name, "*"], "query", "read");
  return may("auditLog", "read") || mayWith([name], "query", "read");
}

function isAudit(name: string): boolean {
  return name === AUDIT_DATASET || name.startsWith(`${AUDIT_DATASET}.`);
}

function demoFirst(of: Dataset[]): Dataset[] {
  return of.sort((a, b) => Number(b.name === "demo") - Number(a.name === "demo"));
}

/** The datasets that the session names, where it may not list all. */
function ownDatasets(): Dataset[] {
  const names = Object.keys(session.value?.datasetCapabilities ?? {}).filter((name) => name !== "*");
  return names.map((name) => ({
    name,
    description: "",
    kind: "",
    created: "",
    who: "",
    useRetentionPeriod: false,
    retentionDays: 0,
  }));
}

/** Read their statistics. */
export async function loadStatistics(): Promise<void> {
  const answer = await ask<{ datasets: Statistics[] }>("/v1/datasets/_stats");
  statistics.value = new Map(answer.datasets.map((each) => [each.name, each]));
}
