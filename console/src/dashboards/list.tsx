/** The dashboards that there are. */
import { useState } from "preact/hooks";
import { ask } from "../api/http";
import { ago, count } from "../format/values";
import { hashOf, navigate } from "../router";
import { may } from "../session";
import { Deletion, FormDialog } from "../ui/dialog";
import { Shown, useLoaded } from "../ui/loaded";
import { Records } from "../ui/records";
import type { Dashboard, DashboardDocument } from "./types";

export const PATH = "/v2/dashboards";

export function DashboardList() {
  const dashboards = useLoaded(() => ask<Dashboard[]>(PATH), []);
  const [making, setMaking] = useState<"empty" | "document" | null>(null);
  const [deleting, setDeleting] = useState<Dashboard | null>(null);
  return (
    <div class="document wide">
      <h1>Dashboards</h1>
      {may("dashboards", "create") && (
        <div class="row">
          <button type="button" class="button primary" onClick={() => setMaking("empty")}>
            New dashboard
          </button>
          <button type="button" class="button" onClick={() => setMaking("document")}>
            From JSON
          </button>
        </div>
      )}
      <Shown of={dashboards}>
        {(found) => (
          <Records
            records={found}
            id={(each) => each.uid}
            empty="There is no dashboard yet."
            columns={[
              {
                title: "Name",
                cell: (each) => (
                  <>
                    <a href={hashOf(`/dashboards/${each.uid}`)}>{each.dashboard.name}</a>
                    <div class="muted">{each.dashboard.description}</div>
                  </>
                ),
              },
              { title: "Charts", right: true, cell: (each) => count(each.dashboard.charts.length) },
              { title: "Changed", cell: (each) => ago(Date.parse(each.updatedAt), Date.now()) },
              {
                title: "",
                right: true,
                cell: (each) =>
                  may("dashboards", "delete") && (
                    <button type="button" class="button small danger" onClick={() => setDeleting(each)}>
                      Delete
                    </button>
                  ),
              },
            ]}
          />
        )}
      </Shown>
      {making && <NewDashboard kind={making} onClose={() => setMaking(null)} />}
      {deleting && (
        <Deletion
          title={`Delete ${deleting.dashboard.name}`}
          path={`${PATH}/uid/${encodeURIComponent(deleting.uid)}`}
          onDone={dashboards.reload}
          onClose={() => setDeleting(null)}
        >
          It is gone for all who use it.
        </Deletion>
      )}
    </div>
  );
}

function NewDashboard({ kind, onClose }: { kind: "empty" | "document"; onClose: () => void }) {
  const [text, setText] = useState("");
  const label = kind === "empty" ? "Name" : "The document, as Axiom's API has it";
  return (
    <FormDialog
      title={kind === "empty" ? "New dashboard" : "A dashboard from JSON"}
      action="Make it"
      disabled={!text.trim()}
      onClose={onClose}
      onSubmit={async () => {
        const dashboard = kind === "empty" ? { ...EMPTY, name: text.trim() } : documentOf(text);
        const made = await ask<{ dashboard: Dashboard }>(PATH, { method: "POST", body: { dashboard } });
        navigate(`/dashboards/${made.dashboard.uid}`, kind === "empty" ? { edit: "1" } : {});
      }}
    >
      <label htmlFor="new-dashboard">
        {label}
        {kind === "empty" ? (
          <input
            id="new-dashboard"
            class="input"
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        ) : (
          <textarea
            id="new-dashboard"
            class="input mono"
            rows={14}
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        )}
      </label>
    </FormDialog>
  );
}

const EMPTY: DashboardDocument = {
  name: "",
  charts: [],
  layout: [],
  refreshTime: 60,
  schemaVersion: 2,
  timeWindowStart: "qr-now-1h",
  timeWindowEnd: "qr-now",
};

/** Return the document of a text: by itself, or in what the API answers. Not JSON is sent as it is, to be refused. */
function documentOf(text: string): unknown {
  try {
    const found = JSON.parse(text) as { dashboard?: unknown; uid?: unknown };
    const inner = found.dashboard ?? found;
    if (typeof inner !== "object" || inner === null) return inner;
    const { uid: _uid, ...document } = inner as Record<string, unknown>;
    return document;
  } catch {
    return text;
  }
}
