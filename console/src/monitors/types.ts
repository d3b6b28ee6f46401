/** Monitors and notifiers as the API has them. */

export type MonitorKind = "Threshold" | "MatchEvent" | "AnomalyDetection";

export interface Monitor {
  id: string;
  name: string;
  type: MonitorKind;
  description: string;
  aplQuery: string;
  columnName: string;
  operator?: string;
  threshold: number;
  intervalMinutes: number;
  rangeMinutes: number;
  secondDelay: number;
  alertOnNoData: boolean;
  resolvable: boolean;
  notifyByGroup: boolean;
  disabled: boolean;
  compareDays: number;
  tolerance: number;
  notifierIds: string[];
}

export interface MonitorEntry {
  timestamp: string;
  /** open, closed, error, delivered, failed, skipped */
  kind: string;
  text: string;
  group: string;
  value: number | null;
}

export interface MonitorStatus {
  id: string;
  lastRun: string | null;
  nextRun: string | null;
  error: string;
  /** names of the groups that alert */
  open: string[];
  history: MonitorEntry[];
}

export interface Notifier {
  id: string;
  name: string;
  properties: Record<string, Record<string, unknown>>;
}

export const OPERATORS: Record<string, string> = {
  Above: "above",
  AboveOrEqual: "at or above",
  Below: "below",
  BelowOrEqual: "at or below",
  AboveOrBelow: "above or below",
};

export type State = "alerting" | "failing" | "fine" | "off" | "waiting";

/** Return how a monitor is. */
export function stateOf(monitor: Monitor, status: MonitorStatus | undefined): State {
  if (monitor.disabled) return "off";
  if (!status?.lastRun) return "waiting";
  if (status.error) return "failing";
  return status.open.length ? "alerting" : "fine";
}

export interface Stretch {
  /** shares of the time shown, from its start */
  from: number;
  to: number;
  kind: "open" | "error";
}

/** Return the stretches of a time in which something alerted or failed; an alert without an end lasts until now. */
export function stretchesOf(history: MonitorEntry[], startMs: number, endMs: number): Stretch[] {
  const share = (ms: number) => Math.min(1, Math.max(0, (ms - startMs) / (endMs - startMs)));
  const opened = new Map<string, number>();
  const found: Stretch[] = [];
  for (const entry of history) {
    const at = Date.parse(entry.timestamp);
    if (entry.kind === "open" && !opened.has(entry.group)) opened.set(entry.group, at);
    if (entry.kind === "closed") {
      found.push({ from: share(opened.get(entry.group) ?? startMs), to: share(at), kind: "open" });
      opened.delete(entry.group);
    }
    if (entry.kind === "error") found.push({ from: share(at), to: share(at), kind: "error" });
  }
  for (const at of opened.values()) found.push({ from: share(at), to: 1, kind: "open" });
  return found.filter((stretch) => stretch.to > 0 || stretch.kind === "error");
}
