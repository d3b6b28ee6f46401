/** API tokens: made with what they may do, made anew, revoked. */
import { useState } from "preact/hooks";
import { ask } from "../api/http";
import { datasets, loadDatasets } from "../datasets";
import { may } from "../session";
import { Deletion, FormDialog } from "../ui/dialog";
import { Shown, useLoaded } from "../ui/loaded";
import { Records } from "../ui/records";
import { SecretDialog } from "../ui/secret";

type Capabilities = Record<string, string[]>;

interface Token {
  id: string;
  name: string;
  description: string;
  expiresAt: string;
  datasetCapabilities: Record<string, Capabilities>;
  orgCapabilities: Capabilities;
}

const NEVER = "0001";
const ALL = ["create", "read", "update", "delete"];

/** What is usually given; anything else can be given by the API. */
const KINDS: Record<string, { title: string; datasets: Capabilities; organisation: Capabilities }> = {
  ingest: { title: "Send events", datasets: { ingest: ["create"] }, organisation: {} },
  query: {
    title: "Query events",
    datasets: { query: ["read"], starredQueries: ["read"], virtualFields: ["read"] },
    organisation: { datasets: ["read"] },
  },
  both: {
    title: "Send and query",
    datasets: { ingest: ["create"], query: ["read"] },
    organisation: { datasets: ["read"] },
  },
  manage: {
    title: "Everything but users and tokens",
    datasets: {
      ingest: ["create"],
      query: ["read"],
      starredQueries: ALL,
      virtualFields: ALL,
      trim: ["update"],
      vacuum: ["update"],
      data: ["delete"],
    },
    organisation: { datasets: ALL, dashboards: ALL, monitors: ALL, notifiers: ALL, annotations: ALL, views: ALL },
  },
};

export function TokenSettings() {
  const tokens = useLoaded(() => ask<Token[]>("/v2/tokens"), []);
  const [making, setMaking] = useState(false);
  const [revoking, setRevoking] = useState<Token | null>(null);
  const [secret, setSecret] = useState("");
  return (
    <>
      {may("apiTokens", "create") && (
        <div class="row">
          <button type="button" class="button primary" onClick={() => setMaking(true)}>
            New token
          </button>
        </div>
      )}
      <Shown of={tokens}>
        {(found) => (
          <Records
            records={found}
            id={(token) => token.id}
            empty="There is no API token. The owner's personal token is in the data directory."
            columns={[
              {
                title: "Name",
                cell: (token) => (
                  <>
                    <b>{token.name}</b>
                    <div class="muted">{token.description}</div>
                  </>
                ),
              },
              { title: "Datasets", cell: (token) => <Allowed of={token.datasetCapabilities} /> },
              { title: "Organisation", cell: (token) => capabilityText(token.orgCapabilities) },
              {
                title: "Ends",
                cell: (token) =>
                  token.expiresAt.startsWith(NEVER) ? "never" : new Date(token.expiresAt).toLocaleString(),
              },
              {
                title: "",
                right: true,
                cell: (token) =>
                  may("apiTokens", "delete") && (
                    <button type="button" class="button small danger" onClick={() => setRevoking(token)}>
                      Revoke
                    </button>
                  ),
              },
            ]}
          />
        )}
      </Shown>
      {making && (
        <TokenForm
          onClose={() => setMaking(false)}
          onMade={(made) => {
            setMaking(false);
            setSecret(made);
            tokens.reload();
          }}
        />
      )}
      {secret && <SecretDialog title="The new token" secret={secret} onClose={() => setSecret("")} />}
      {revoking && (
        <Deletion
          title={`Revoke ${revoking.name}`}
          path={`/v2/tokens/${revoking.id}`}
          action="Revoke it"
          said="Revoked"
          onDone={tokens.reload}
          onClose={() => setRevoking(null)}
        >
          Clients that use it are refused from their next request on, and browsers signed in by it are signed out.
        </Deletion>
      )}
    </>
  );
}

function Allowed({ of }: { of: Record<string, Capabilities> }) {
  return (
    <>
      {Object.entries(of).map(([name, capabilities]) => (
        <div key={name}>
          <b>{name === "*" ? "every dataset" : name}</b> <span class="muted">{capabilityText(capabilities)}</span>
        </div>
      ))}
    </>
  );
}

function capabilityText(capabilities: Capabilities): string {
  return Object.entries(capabilities)
    .map(([name, actions]) => (actions.length >= ALL.length ? name : `${name} (${actions.join(", ")})`))
    .join(", ");
}

function TokenForm({ onMade, onClose }: { onMade: (secret: string) => void; onClose: () => void }) {
  const [name, setName] = useState("");
  const [description, setDescription] = useState("");
  const [kind, setKind] = useState("ingest");
  const [chosen, setChosen] = useState<string[]>([]);
  const [days, setDays] = useState("");
  useState(() => void loadDatasets());
  const given = KINDS[kind];
  return (
    <FormDialog
      title="New token"
      action="Make it"
      disabled={!name.trim() || !given}
      onClose={onClose}
      onSubmit={async () => {
        if (!given) return;
        const names = chosen.length ? chosen : ["*"];
        const body = {
          name: name.trim(),
          description,
          datasetCapabilities: Object.fromEntries(names.map((each) => [each, given.datasets])),
          orgCapabilities: given.organisation,
          ...(days ? { expiresAt: new Date(Date.now() + Number(days) * 86_400_000).toISOString() } : {}),
        };
        onMade((await ask<{ token: string }>("/v2/tokens", { method: "POST", body })).token);
      }}
    >
      <label>
        Name
        <input class="input" value={name} onInput={(event) => setName(event.currentTarget.value)} />
      </label>
      <label>
        Description
        <input class="input" value={description} onInput={(event) => setDescription(event.currentTarget.value)} />
      </label>
      <label>
        What it may do
        <select class="input" value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
          {Object.entries(KINDS).map(([id, { title }]) => (
            <option key={id} value={id}>
              {title}
            </option>
          ))}
        </select>
      </label>
      <fieldset class="field-row">
        <legend>With which datasets</legend>
        <span class="hint">None chosen: every dataset, those to come included.</span>
        <div class="checks">
          {datasets.value.map((each) => (
            <label key={each.name}>
              <input
                type="checkbox"
                checked={chosen.includes(each.name)}
                onChange={(event) =>
                  setChosen(
                    event.currentTarget.checked ? [...chosen, each.name] : chosen.filter((one) => one !== each.name),
                  )
                }
              />
              {each.name}
            </label>
          ))}
        </div>
      </fieldset>
      <label>
        Days until it ends
        <input
          class="input"
          type="number"
          min={1}
          placeholder="never"
          value={days}
          onInput={(event) => setDays(event.currentTarget.value)}
        />
      </label>
    </FormDialog>
  );
}
