#include "osculant/report/chart.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "osculant/report/html.h"

namespace osculant {
namespace {

TEST(Html, TextIsNeverMarkup) {
  EXPECT_EQ(escape_html("<b>&\"'"), "&lt;b&gt;&amp;&quot;&#39;");
  EXPECT_EQ(escape_html("a\x1b[2J\r\n\té\xc2\x9b"), "a?[2J?\n\té?");
  HtmlTable table("a < b", {"name"});
  table.add({"</table><script>alert(1)</script>"});
  EXPECT_EQ(table.str().find("<script>"), std::string::npos);
  EXPECT_NE(table.str().find("&lt;/table&gt;&lt;script&gt;"), std::string::npos);
}

TEST(Html, JsonCannotEndItsScript) {
  EXPECT_EQ(escape_script_json("\"</script>&\""), "\"\\u003c/script\\u003e\\u0026\"");
}

TEST(Chart, AFigureHoldsItsNumbers) {
  Chart chart{
      .id = "c", .title = "Loss", .caption = "It falls.", .x = {{"steps"}, {"seconds"}}, .y = {"loss", true}};
  chart.series.push_back(
      {.name = "</script>", .x = {{1, 2}, {0.5, 1}}, .y = {3, std::nan("")}, .low = {2, 1}, .high = {4, 5}});
  std::string html = figure(chart);
  EXPECT_NE(html.find("\"y\":[3.0,null]"), std::string::npos) << html;
  EXPECT_NE(html.find("\\u003c/script\\u003e"), std::string::npos);
  EXPECT_NE(html.find("<option value=\"1\">seconds</option>"), std::string::npos);
  EXPECT_NE(html.find("3 (2 to 4)"), std::string::npos);
  EXPECT_NE(html.find("aria-label=\"It falls.\""), std::string::npos);
}

TEST(Chart, ThinningKeepsEndsAndExtremes) {
  ChartSeries series{.x = {{}}};
  for (int i = 0; i < 10'000; ++i) {
    series.x[0].push_back(i);
    series.y.push_back(i == 4321 ? 100 : i == 8000 ? -7 : std::sin(i));
  }
  thin(series, 300);
  ASSERT_LE(series.y.size(), 302u);
  EXPECT_EQ(series.x[0].size(), series.y.size());
  EXPECT_EQ(series.x[0].front(), 0);
  EXPECT_EQ(series.x[0].back(), 9999);
  EXPECT_TRUE(std::is_sorted(series.x[0].begin(), series.x[0].end()));
  EXPECT_EQ(*std::max_element(series.y.begin(), series.y.end()), 100);
  EXPECT_EQ(*std::min_element(series.y.begin(), series.y.end()), -7);
}

}  // namespace
}  // namespace osculant
