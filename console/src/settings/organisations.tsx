/** The organisations of the user: made, renamed, and worked in. */
import { useState } from "preact/hooks";
import { ask, chooseOrganisation, ORGANISATION_HEADER } from "../api/http";
import { session } from "../session";
import { FormDialog } from "../ui/dialog";
import { Shown, useLoaded } from "../ui/loaded";
import { Records } from "../ui/records";
import { say } from "../ui/toast";

interface Organisation {
  id: string;
  name: string;
  role: string;
  metaCreated: string;
}

const PATH = "/v2/orgs";
const FIRST = "tailrace"; // whose owners make others
const MANAGING = ["owner", "admin"];

export function OrganisationSettings() {
  const listed = useLoaded(() => ask<Organisation[]>(PATH), []);
  const [opened, setOpened] = useState<Organisation | "new" | null>(null);
  const mayMake = (listed.value ?? []).some(({ id, role }) => id === FIRST && role === "owner");
  const done = () => {
    setOpened(null);
    listed.reload();
    say("Saved");
  };
  return (
    <>
      {mayMake && (
        <div class="row">
          <button type="button" class="button primary" onClick={() => setOpened("new")}>
            New organisation
          </button>
        </div>
      )}
      <Shown of={listed}>
        {(found) => (
          <Records
            records={found}
            id={(organisation) => organisation.id}
            empty="There is no organisation."
            columns={[
              {
                title: "Name",
                cell: ({ id, name }) => (
                  <>
                    <b>{name}</b> {id === session.value?.organisation && <span class="muted">(this one)</span>}
                    <div class="muted mono">{id}</div>
                  </>
                ),
              },
              { title: "Your role", cell: ({ role }) => role },
              { title: "Since", cell: ({ metaCreated }) => new Date(metaCreated).toLocaleDateString() },
              {
                title: "",
                right: true,
                cell: (organisation) => (
                  <span class="row">
                    {organisation.id !== session.value?.organisation && (
                      <button type="button" class="button small" onClick={() => workIn(organisation.id)}>
                        Work in {organisation.name}
                      </button>
                    )}
                    {MANAGING.includes(organisation.role) && (
                      <button type="button" class="button small" onClick={() => setOpened(organisation)}>
                        Rename
                      </button>
                    )}
                  </span>
                ),
              },
            ]}
          />
        )}
      </Shown>
      {opened && <NameForm before={opened === "new" ? null : opened} onClose={() => setOpened(null)} onDone={done} />}
    </>
  );
}

/** Ask for another organisation from now on; what is shown is of the one before. */
function workIn(id: string): void {
  chooseOrganisation(id);
  location.reload();
}

interface NameFormProps {
  /** null for a new one */
  before: Organisation | null;
  onClose: () => void;
  onDone: () => void;
}

function NameForm({ before, onClose, onDone }: NameFormProps) {
  const [name, setName] = useState(before?.name ?? "");
  const save = async () => {
    const body = { name: name.trim() };
    if (before) {
      const headers = { [ORGANISATION_HEADER]: before.id };
      await ask(`${PATH}/${encodeURIComponent(before.id)}`, { method: "PUT", body, headers });
    } else await ask(PATH, { method: "POST", body });
    onDone();
  };
  return (
    <FormDialog
      title={before ? `Rename ${before.name}` : "New organisation"}
      action={before ? "Rename it" : "Make it"}
      disabled={!name.trim()}
      onClose={onClose}
      onSubmit={save}
    >
      <label>
        Name
        <input class="input" value={name} onInput={(event) => setName(event.currentTarget.value)} />
      </label>
      {!before && <p class="muted">It has datasets, users and tokens of its own. You own it.</p>}
    </FormDialog>
  );
}
