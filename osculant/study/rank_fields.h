#pragma once

#include "osculant/spectrum/rank.h"
#include "osculant/study/spectrum_record.h"

namespace osculant {

// What the records of a whole matrix's rank and of a layer's have in common.
template <class Record>
void put_rank(Record& record, const RankResult& rank) {
  record.numerical = {{rank.numerical.value, static_cast<double>(rank.numerical.low),
                       static_cast<double>(rank.numerical.high)},
                      rank.threshold};
  if (rank.upper_bound >= 0) record.upper_bound = rank.upper_bound;
  record.stable = record_of(rank.stable);
  record.participation = record_of(rank.participation);
  record.dominance = record_of(rank.dominance);
  record.rank_one = to_string(rank.rank_one);
  record.exact = rank.exact;
  record.how = rank.how;
}

}  // namespace osculant
