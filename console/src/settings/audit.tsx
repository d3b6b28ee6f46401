/** The audit trail: who changed what. */
import { runApl } from "../api/apl";
import { ask } from "../api/http";
import { AUDIT_DATASET } from "../datasets";
import { eventTime } from "../format/values";
import { gridOf, rowOf } from "../result/table";
import { hashOf } from "../router";
import { session } from "../session";
import { Shown, useLoaded } from "../ui/loaded";
import { Records } from "../ui/records";

const FIRST_ORGANISATION = "tailrace";
const MOST = 200;

export function AuditSettings() {
  const organisation = session.value?.organisation ?? FIRST_ORGANISATION;
  const dataset = organisation === FIRST_ORGANISATION ? AUDIT_DATASET : `${AUDIT_DATASET}.${organisation}`;
  const apl = `['${dataset}'] | sort by _time desc | take ${MOST}`;
  const entries = useLoaded(async () => {
    const known = await ask<{ name: string }[]>("/v2/datasets");
    if (!known.some((each) => each.name === dataset)) return []; // until something was changed
    const grid = gridOf(await runApl({ apl }));
    return Array.from({ length: grid.rows }, (_, row) => rowOf(grid, row));
  }, [apl]);
  const text = (entry: Record<string, unknown>, ...names: string[]) =>
    String(names.map((name) => entry[name]).find((value) => value !== undefined && value !== "") ?? "");
  return (
    <>
      <p class="muted">
        The last {MOST} changes. It is a dataset,{" "}
        <a href={hashOf("/explore", { q: apl, start: "now-30d", end: "now" })}>{dataset}</a>, that can be queried.
      </p>
      <Shown of={entries}>
        {(found) => (
          <Records
            records={found}
            id={(entry) => text(entry, "trace_id") + text(entry, "_time") + text(entry, "action")}
            empty="Nothing was changed yet."
            columns={[
              { title: "Time", cell: (entry) => <span class="mono">{eventTime(text(entry, "_time"))}</span> },
              { title: "Action", cell: (entry) => <b>{text(entry, "action")}</b> },
              { title: "By", cell: (entry) => text(entry, "actor.name", "actor.id") },
              { title: "With", cell: (entry) => text(entry, "actor.credential") },
              {
                title: "What",
                cell: (entry) => `${text(entry, "resource.type")} ${text(entry, "resource.name", "resource.id")}`,
              },
            ]}
          />
        )}
      </Shown>
    </>
  );
}
