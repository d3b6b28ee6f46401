/** Send data: what is there to send, a token for it, the lines, and the first event as it arrives. */
import { useEffect, useState } from "preact/hooks";
import { aplDataset, runApl } from "../api/apl";
import { ApiError, address, ask } from "../api/http";
import { loadDatasets, writable } from "../datasets";
import { gridOf, rowOf } from "../result/table";
import { hashOf, navigate, route } from "../router";
import { may } from "../session";
import { copy } from "../ui/clipboard";
import { DatasetMenu } from "../ui/dataset-menu";
import { EventTree } from "../ui/event-tree";
import { Icon } from "../ui/icons";
import { CLIENTS } from "./clients";

const ASK_EVERY_MS = 1500;
const PLACEHOLDER = "YOUR_TOKEN";

export function SendPage() {
  const [token, setToken] = useState("");
  const [name, setName] = useState("");
  const [error, setError] = useState("");
  useEffect(() => void loadDatasets(), []);
  const { params } = route.value;
  const client = CLIENTS.find((each) => each.id === params.get("from")) ?? CLIENTS[0];
  const dataset = params.get("dataset") ?? writable.value[0]?.name ?? "";
  if (!client) return null;
  const url = address("/").replace(/\/$/, "");
  const lines = client.lines({ url, token: token || PLACEHOLDER, dataset: dataset || "YOUR_DATASET" });
  const choose = (change: Record<string, string>) => navigate("/send", { from: client.id, dataset, ...change });

  const attempt = async (work: () => Promise<void>) => {
    setError("");
    try {
      await work();
    } catch (failure) {
      if (!(failure instanceof ApiError)) throw failure;
      setError(failure.message);
    }
  };
  const makeDataset = () =>
    attempt(async () => {
      await ask("/v2/datasets", { method: "POST", body: { name: name.trim() } });
      await loadDatasets();
      choose({ dataset: name.trim() });
      setName("");
    });
  const makeToken = () =>
    attempt(async () => {
      const body = {
        name: `${dataset} ingest`,
        datasetCapabilities: { [dataset]: { ingest: ["create"] } },
        defaultDataset: dataset,
      };
      const made = await ask<{ token: string }>("/v2/tokens", { method: "POST", body });
      setToken(made.token);
    });

  return (
    <div class="document">
      <h1>Send data</h1>
      {error && (
        <p class="notice error" role="alert">
          {error}
        </p>
      )}
      <section class="step">
        <h2>1. What sends?</h2>
        <div class="choices">
          {CLIENTS.map((each) => (
            <button
              key={each.id}
              type="button"
              class="choice"
              aria-pressed={each === client}
              onClick={() => choose({ from: each.id })}
            >
              {each.name}
            </button>
          ))}
        </div>
        <p class="muted">
          Clients of Baselime, Datamix and Moesif have keys of their own: <a href="#/settings/keys">Settings, Keys</a>.
        </p>
      </section>
      <section class="step">
        <h2>2. Where to?</h2>
        <div class="row">
          <DatasetMenu
            chosen={dataset || null}
            offered={writable.value}
            onChoose={(chosen) => {
              setToken("");
              choose({ dataset: chosen });
            }}
          />
          {may("datasets", "create") && (
            <form
              class="row"
              onSubmit={(event) => {
                event.preventDefault();
                void makeDataset();
              }}
            >
              <input
                class="input"
                aria-label="Name of a new dataset"
                placeholder="or a new dataset"
                value={name}
                onInput={(event) => setName(event.currentTarget.value)}
              />
              <button type="submit" class="button" disabled={!name.trim()}>
                Make it
              </button>
            </form>
          )}
        </div>
      </section>
      {may("apiTokens", "create") && (
        <section class="step">
          <h2>3. By which token?</h2>
          {token ? (
            <p>
              This one may send to {dataset}, and nothing else. It is shown this once:{" "}
              <code class="secret">{token}</code>{" "}
              <button type="button" class="button small" onClick={() => void copy(token)}>
                <Icon name="copy" size={13} /> Copy
              </button>
            </p>
          ) : (
            <button type="button" class="button primary" disabled={!dataset} onClick={() => void makeToken()}>
              Make a token that may send to {dataset || "it"} only
            </button>
          )}
        </section>
      )}
      <section class="step">
        <h2>4. These lines</h2>
        <div class="code">
          <pre>{lines}</pre>
          <button type="button" class="button small" onClick={() => void copy(lines)}>
            <Icon name="copy" size={13} /> Copy
          </button>
        </div>
        {!token && <p class="muted">With a token in place of {PLACEHOLDER}.</p>}
      </section>
      <section class="step">
        <h2>5. The first event</h2>
        {dataset && <FirstEvent key={dataset} dataset={dataset} />}
      </section>
    </div>
  );
}

/** Wait for an event that came after this was opened, and show it. */
function FirstEvent({ dataset }: { dataset: string }) {
  const [event, setEvent] = useState<Record<string, unknown> | null>(null);
  const [trouble, setTrouble] = useState("");
  useEffect(() => {
    const controller = new AbortController();
    const since = new Date().toISOString();
    const apl = `${aplDataset(dataset)} | where _sysTime > datetime(${since}) | sort by _sysTime desc | take 1`;
    const look = async () => {
      try {
        const grid = gridOf(await runApl({ apl }, controller.signal));
        setTrouble("");
        if (grid.rows) return setEvent(rowOf(grid, 0));
      } catch (error) {
        if (controller.signal.aborted) return;
        setTrouble(error instanceof Error ? error.message : String(error));
      }
      if (!controller.signal.aborted) setTimeout(() => void look(), ASK_EVERY_MS);
    };
    void look();
    return () => controller.abort();
  }, [dataset]);
  if (event)
    return (
      <div class="arrived">
        <p>
          <b>It arrived.</b>{" "}
          <a href={hashOf("/explore", { q: aplDataset(dataset), start: "now-15m", end: "now" })}>
            Look at it in Explore
          </a>
          , or <a href={hashOf("/stream", { dataset })}>follow the stream</a>.
        </p>
        <EventTree event={event} types={new Map()} onFilter={null} />
      </div>
    );
  return (
    <p role="status">
      <span class="spinner" /> Waiting for an event in {dataset} … {trouble}
    </p>
  );
}
