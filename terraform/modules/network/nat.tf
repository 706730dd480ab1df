# The way out for private subnets: a gateway in each zone, or one instance that forwards for all of them.

locals {
  gateway_zones = var.nat == "gateways" ? local.zones : {}
  nat_instances = var.nat == "instance" ? { nat = var.zones[0] } : {}
}

resource "aws_eip" "gateway" {
  for_each = local.gateway_zones

  domain = "vpc"

  tags = { Name = "${var.name}-nat-${each.key}" }

  depends_on = [aws_internet_gateway.this]
}

resource "aws_nat_gateway" "this" {
  for_each = local.gateway_zones

  allocation_id = aws_eip.gateway[each.key].id
  subnet_id     = aws_subnet.public[each.key].id

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_route" "gateway" {
  for_each = local.gateway_zones

  route_table_id         = aws_route_table.private[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[each.key].id
}

data "aws_ssm_parameter" "nat_image" {
  for_each = local.nat_instances

  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
}

resource "aws_iam_role" "nat" {
  for_each = local.nat_instances

  name = "${var.name}-nat"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "nat_sessions" {
  for_each = local.nat_instances

  role       = aws_iam_role.nat[each.key].name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "nat" {
  for_each = local.nat_instances

  name = "${var.name}-nat"
  role = aws_iam_role.nat[each.key].name
}

resource "aws_instance" "nat" {
  for_each = local.nat_instances

  ami                         = data.aws_ssm_parameter.nat_image[each.key].insecure_value
  instance_type               = var.nat_instance_type
  subnet_id                   = aws_subnet.public[each.value].id
  source_dest_check           = false
  vpc_security_group_ids      = [aws_security_group.role["nat"].id]
  iam_instance_profile        = aws_iam_instance_profile.nat[each.key].name
  monitoring                  = true
  ebs_optimized               = true
  user_data_replace_on_change = true

  user_data = <<-EOT
    #!/bin/bash
    set -euo pipefail
    echo 'net.ipv4.ip_forward = 1' > /etc/sysctl.d/90-nat.conf
    sysctl --system
    until dnf install -y nftables; do sleep 5; done # its address comes a moment after it
    device=$(ip -4 route show default | awk '{print $5; exit}')
    cat > /etc/nftables/nat.nft <<RULES
    table ip nat {
      chain postrouting {
        type nat hook postrouting priority srcnat;
        ip saddr ${var.cidr} oifname "$device" masquerade
      }
    }
    RULES
    echo 'include "/etc/nftables/nat.nft"' > /etc/sysconfig/nftables.conf
    systemctl enable --now nftables
  EOT

  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = 8
    encrypted   = true
    kms_key_id  = var.data_key_arn
  }

  tags = { Name = "${var.name}-nat" }

  # A newer image is taken by replacing the instance on purpose, not by whoever plans next.
  lifecycle {
    ignore_changes = [ami]
  }
}

resource "aws_eip" "instance" {
  for_each = local.nat_instances

  domain = "vpc"

  tags = { Name = "${var.name}-nat" }

  depends_on = [aws_internet_gateway.this]
}

resource "aws_eip_association" "instance" {
  for_each = local.nat_instances

  allocation_id = aws_eip.instance[each.key].id
  instance_id   = aws_instance.nat[each.key].id
}

resource "aws_route" "instance" {
  for_each = var.nat == "instance" ? local.zones : {}

  route_table_id         = aws_route_table.private[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  network_interface_id   = aws_instance.nat["nat"].primary_network_interface_id
}
