// Trains a program exported by torch.export and hands the weights back as safetensors.
//   python export_model.py DIR && train_exported DIR && python read_back.py DIR LOSS
#include <cstdio>
#include <iostream>
#include <string>

#include "osculant/osculant.h"

int main(int argc, char** argv) {
  std::string folder = argc > 1 ? argv[1] : ".";
  auto model = osculant::load_exported(folder + "/m.pt2");
  auto data = osculant::load_dataset(folder + "/train.safetensors");
  osculant::Objective objective(model, osculant::MeanSquaredError(), data.full());

  auto summary = osculant::minimize(objective, osculant::methods::hessian_free(), {.steps = 30});
  std::cout << summary.brief_report() << "\n";
  osculant::save_safetensors(folder + "/trained.safetensors", model.state());
  std::printf("final loss %.9e\n", objective.value());
}
