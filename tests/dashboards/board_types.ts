// What a board's JSON must be: Grafana's own types, with the values of enumerations as JSON has
// them. Panels name their options only loosely in `Dashboard`, so each type of panel has its own.
import type { Dashboard } from "@grafana/schema";
import type * as heatmap from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen.js";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen.js";
import type * as table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen.js";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen.js";

type Json<T> = T extends string
  ? `${T}`
  : T extends (infer E)[]
    ? Json<E>[]
    : T extends object
      ? { [K in keyof T]: Json<T[K]> }
      : T;

type Looks<O, F> = { options?: Json<Partial<O>>; custom?: Json<Partial<F>> };

export type Board = Json<Dashboard>;
export type Panels = {
  heatmap: Looks<heatmap.Options, heatmap.FieldConfig>;
  stat: Looks<stat.Options, never>;
  table: Looks<table.Options, table.FieldConfig>;
  timeseries: Looks<timeseries.Options, timeseries.FieldConfig>;
};
