import { render } from "preact";
import { App } from "./app";
import { loadSession } from "./session";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/charts.css";
import "./styles/dashboards.css";
import "./styles/document.css";
import "./styles/explore.css";
import "./styles/monitors.css";
import "./styles/traces.css";
import { apply } from "./theme";

apply();
const root = document.getElementById("app");
if (root) render(<App />, root);
void loadSession();
