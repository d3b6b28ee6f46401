/** Keys of the clients of Baselime, Datamix and Moesif. */
import { useState } from "preact/hooks";
import { address, ask } from "../api/http";
import { may } from "../session";
import { copy } from "../ui/clipboard";
import { Deletion, Dialog, FormDialog } from "../ui/dialog";
import { Shown, useLoaded } from "../ui/loaded";
import { Records } from "../ui/records";

interface Key {
  id: string;
  protocol: string;
  name: string;
  createdAt: string;
  expiresAt: string | null;
  datasets?: string[];
  dataset?: string;
  destination?: string;
}

interface MadeKey extends Key {
  key: string;
  usage: string[];
}

const PROTOCOLS: Record<string, { title: string; scope: "datasets" | "dataset" | "destination"; hint: string }> = {
  baselime: { title: "Baselime", scope: "datasets", hint: "Names of datasets with commas between them, or * for all" },
  datamix: { title: "Datamix", scope: "destination", hint: "system.application.environment" },
  moesif: { title: "Moesif", scope: "dataset", hint: "The dataset that the application's events go to" },
};
const PATH = "/tailrace/v1/keys";

export function KeySettings() {
  const keys = useLoaded(() => ask<Key[]>(PATH), []);
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<MadeKey | null>(null);
  const [revoking, setRevoking] = useState<Key | null>(null);
  return (
    <>
      {may("apiTokens", "create") && (
        <div class="row">
          <button type="button" class="button primary" onClick={() => setMaking(true)}>
            New key
          </button>
        </div>
      )}
      <Shown of={keys}>
        {(found) => (
          <Records
            records={found}
            id={(key) => key.id}
            empty="There is no key. Clients of Baselime, Datamix and Moesif send with one."
            columns={[
              { title: "Name", cell: (key) => <b>{key.name}</b> },
              { title: "Protocol", cell: (key) => PROTOCOLS[key.protocol]?.title ?? key.protocol },
              { title: "To", cell: (key) => key.destination ?? key.dataset ?? (key.datasets ?? []).join(", ") },
              { title: "Made", cell: (key) => new Date(key.createdAt).toLocaleString() },
              { title: "Ends", cell: (key) => (key.expiresAt ? new Date(key.expiresAt).toLocaleString() : "never") },
              {
                title: "",
                right: true,
                cell: (key) =>
                  may("apiTokens", "delete") && (
                    <button type="button" class="button small danger" onClick={() => setRevoking(key)}>
                      Revoke
                    </button>
                  ),
              },
            ]}
          />
        )}
      </Shown>
      {making && (
        <KeyForm
          onClose={() => setMaking(false)}
          onMade={(key) => {
            setMaking(false);
            setMade(key);
            keys.reload();
          }}
        />
      )}
      {made && <MadeDialog made={made} onClose={() => setMade(null)} />}
      {revoking && (
        <Deletion
          title={`Revoke ${revoking.name}`}
          path={`${PATH}/${revoking.id}`}
          action="Revoke it"
          said="Revoked"
          onDone={keys.reload}
          onClose={() => setRevoking(null)}
        >
          Clients that use it are refused from their next request on.
        </Deletion>
      )}
    </>
  );
}

function KeyForm({ onMade, onClose }: { onMade: (key: MadeKey) => void; onClose: () => void }) {
  const [protocol, setProtocol] = useState("baselime");
  const [name, setName] = useState("");
  const [to, setTo] = useState("");
  const kind = PROTOCOLS[protocol];
  return (
    <FormDialog
      title="New key"
      action="Make it"
      disabled={!name.trim() || !to.trim() || !kind}
      onClose={onClose}
      onSubmit={async () => {
        if (!kind) return;
        const scope =
          kind.scope === "datasets"
            ? to
                .split(",")
                .map((each) => each.trim())
                .filter(Boolean)
            : to.trim();
        const body = { name: name.trim(), protocol, [kind.scope]: scope };
        onMade(await ask<MadeKey>(PATH, { method: "POST", body }));
      }}
    >
      <label>
        Protocol
        <select class="input" value={protocol} onChange={(event) => setProtocol(event.currentTarget.value)}>
          {Object.entries(PROTOCOLS).map(([id, { title }]) => (
            <option key={id} value={id}>
              {title}
            </option>
          ))}
        </select>
      </label>
      <label>
        Name
        <input class="input" value={name} onInput={(event) => setName(event.currentTarget.value)} />
      </label>
      <label>
        To
        <span class="hint">{kind?.hint}</span>
        <input class="input" value={to} onInput={(event) => setTo(event.currentTarget.value)} />
      </label>
    </FormDialog>
  );
}

function MadeDialog({ made, onClose }: { made: MadeKey; onClose: () => void }) {
  const url = address("/").replace(/\/$/, "");
  const usage = made.usage.map((line) => line.replaceAll("{url}", url).replaceAll("{key}", made.key)).join("\n");
  return (
    <Dialog title={`The key ${made.name}`} onClose={onClose}>
      <p>It is shown this once: the server keeps only its hash.</p>
      <p>
        <code class="secret">{made.key}</code>
      </p>
      <div class="code">
        <pre>{usage}</pre>
      </div>
      <div class="dialog-foot">
        <button type="button" class="button" onClick={() => void copy(made.key)}>
          Copy the key
        </button>
        <button type="button" class="button primary" onClick={onClose}>
          Done
        </button>
      </div>
    </Dialog>
  );
}
