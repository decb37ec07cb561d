'use strict';
(() => {
  const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colour = place => style('--c' + place % 8);

  // Whiskers from low to high at each point that has them.
  const errorBars = {
    id: 'errorBars',
    afterDatasetsDraw(chart) {
      const {ctx, chartArea, scales: {y}} = chart;
      chart.data.datasets.forEach((set, index) => {
        if (!set.low || set.low.length === 0 || chart.getDatasetMeta(index).hidden) return;
        ctx.save();
        ctx.strokeStyle = set.borderColor;
        ctx.lineWidth = 1.2;
        chart.getDatasetMeta(index).data.forEach((point, i) => {
          const low = set.low[i], high = set.high[i];
          if (low === null || high === null) return;
          const clamp = value => Math.min(chartArea.bottom, Math.max(chartArea.top, value));
          const bottom = low > 0 || y.type !== 'logarithmic' ? clamp(y.getPixelForValue(low)) : chartArea.bottom;
          const top = clamp(y.getPixelForValue(high));
          ctx.beginPath();
          for (const end of [bottom, top]) { ctx.moveTo(point.x - 4, end); ctx.lineTo(point.x + 4, end); }
          ctx.moveTo(point.x, bottom);
          ctx.lineTo(point.x, top);
          ctx.stroke();
        });
        ctx.restore();
      });
    },
  };

  const kept = (value, log) => value !== null && (!log || value > 0);

  const datasets = (spec, choice) => spec.series.map(series => {
    const look = {
      label: series.name, borderColor: colour(series.colour), backgroundColor: colour(series.colour),
      low: series.low, high: series.high, borderWidth: 1.8, borderDash: series.dashed ? [5, 4] : [],
    };
    if (spec.kind === 'bars') return {...look, data: series.y.map(y => kept(y, spec.y.log) ? y : null)};
    const x = series.x[choice], log = spec.x[choice].log;
    return {
      ...look, showLine: series.line, pointRadius: series.line ? (x.length > 40 ? 0 : 2) : 4, tension: 0,
      data: series.y.map((y, i) => kept(y, spec.y.log) && kept(x[i], log) ? {x: x[i], y} : {x: x[i], y: NaN}),
    };
  });

  const shown = value => {
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential() : String(Number(value.toPrecision(6)));
  };

  const leading = value => Number((value / 10 ** Math.floor(Math.log10(value) + 1e-9)).toPrecision(6));

  const whole = (spec, choice) => spec.series.every(series => series.x[choice].every(Number.isInteger));

  const scale = axis => ({
    type: axis.log ? 'logarithmic' : 'linear',
    title: {display: true, text: axis.title, color: style('--faint')},
    ticks: {
      color: style('--faint'), maxTicksLimit: 9,
      callback: value => axis.log && ![1, 2, 5].includes(leading(value)) ? '' : shown(value),
    },
    grid: {color: style('--line')},
  });

  // Room for the whiskers.
  const room = spec => {
    const all = name => spec.series.flatMap(series => series[name] || []).filter(Number.isFinite);
    const low = all('low'), high = all('high');
    if (spec.y.log || low.length === 0 || high.length === 0) return {};
    return {suggestedMin: Math.min(...low), suggestedMax: Math.max(...high)};
  };

  const settings = (spec, choice) => {
    const x = spec.kind === 'bars' ? {ticks: {color: style('--faint')}, grid: {display: false}} : scale(spec.x[choice]);
    if (spec.kind !== 'bars' && whole(spec, choice)) x.ticks.precision = 0;
    return {
      type: spec.kind === 'bars' ? 'bar' : 'scatter',
      data: {labels: spec.labels, datasets: datasets(spec, choice)},
      plugins: [errorBars],
      options: {
        animation: false, maintainAspectRatio: false, spanGaps: false, scales: {x, y: {...scale(spec.y), ...room(spec)}},
        interaction: {mode: 'nearest', intersect: false},
        plugins: {legend: {display: spec.series.length > 1, labels: {
            color: style('--ink'), boxWidth: 18, boxHeight: 3, filter: item => !spec.series[item.datasetIndex].dashed,
          }}},
      },
    };
  };

  const charts = [];
  for (const data of document.querySelectorAll('script.chart-data')) {
    const id = data.dataset.for, spec = JSON.parse(data.textContent);
    const select = document.querySelector(`select[data-for="${id}"]`);
    const draw = () => {
      const held = charts.find(entry => entry.id === id);
      if (held) held.chart.destroy();
      const chart = new Chart(document.getElementById(id), settings(spec, select ? Number(select.value) : 0));
      if (held) held.chart = chart; else charts.push({id, chart, draw});
    };
    draw();
    if (select) select.addEventListener('change', draw);
  }

  // Colours belong to the theme, and paper is light.
  const redraw = () => charts.forEach(entry => entry.draw());
  for (const query of ['(prefers-color-scheme: dark)', 'print'])
    window.matchMedia(query).addEventListener('change', redraw);
})();
