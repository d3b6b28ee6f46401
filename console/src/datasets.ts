/** The datasets that the session may see, and their statistics. */
import { computed, signal } from "@preact/signals";
import { ask } from "./api/http";
import { may, session } from "./session";

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
export const writable = computed(() =>
  datasets.value
    .filter(({ name }) => name !== AUDIT_DATASET && !name.startsWith(`${AUDIT_DATASET}.`))
    .sort((a, b) => Number(b.name === "demo") - Number(a.name === "demo")),
);
/** by the name of the dataset */
export const statistics = signal<ReadonlyMap<string, Statistics>>(new Map());

/** Read the datasets. */
export async function loadDatasets(): Promise<void> {
  const found = may("datasets", "read") ? await ask<Dataset[]>("/v2/datasets") : ownDatasets();
  datasets.value = found.sort((a, b) => a.name.localeCompare(b.name));
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
